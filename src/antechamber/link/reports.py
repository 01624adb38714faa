"""The form of a guest's reports: whatever differs from `protocol.ReportKind` in any part is refused whole."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from antechamber.errors import Code, MachineError
from antechamber.guest.protocol import LATEST_NS, MAX_CREDENTIAL, UNSTORED, WHOLE, FileState, ReportKind, Trouble
from antechamber.model import GuestText, IdPrefix, is_id

_LINES: Final = 20
_LINE: Final = 4000
_FILES: Final = 16
_HOST: Final = re.compile(r"\A[a-z0-9_:.-]{1,253}\Z")
_FILE_NAME: Final = re.compile(r"\A[A-Za-z0-9_.-]{1,64}\Z")


@dataclass(frozen=True, slots=True)
class Report:
    """One report of a guest, checked against the protocol; texts in `body` are GuestText. Its claims are only that."""

    id: str
    kind: ReportKind
    body: Mapping[str, Any]
    """As `protocol.ReportKind` describes it for each kind; not in the repr, for it can hold a credential."""

    def __repr__(self) -> str:
        return f"Report({self.id}, {self.kind.value})"


def checked(message: dict[str, Any]) -> Report:
    """Return the report of a message; raises MachineError (guest_protocol) unless every part is of the protocol."""
    exactly(message, type=str, id=str, kind=str, body=dict)
    if not is_id(message["id"], IdPrefix.REPORT):
        raise _wrong("a report's id")
    try:
        kind = ReportKind(message["kind"])
    except ValueError:
        raise _wrong(f"a report of kind {GuestText(message['kind'][:40])}") from None
    return Report(message["id"], kind, _BODIES[kind](message["body"]))


def _started(body: dict[str, Any]) -> dict[str, Any]:
    exactly(body, cli_pid_started=bool)
    return body


def _empty(body: dict[str, Any]) -> dict[str, Any]:
    exactly(body)
    return body


def _browser_sandbox(body: dict[str, Any]) -> dict[str, Any]:
    exactly(body, ok=bool, renderers=int, detail=str)
    return {**body, "renderers": _number(body["renderers"], 0, 10_000), "detail": GuestText(body["detail"])}


def _page_asked(body: dict[str, Any]) -> dict[str, Any]:
    exactly(body, host=str)
    if not _HOST.match(body["host"]):
        raise _wrong("a host")
    return body


def _credential(body: dict[str, Any]) -> dict[str, Any]:
    exactly(body, files=dict, cli_version=str)
    return {"files": _files(body["files"]), "cli_version": GuestText(body["cli_version"])}


def _cli_ended(body: dict[str, Any]) -> dict[str, Any]:
    exactly(body, code=int, lines=list, file=str, attempt=int)
    if body["file"] not in set(FileState):
        raise _wrong("a file's state")
    return {
        "code": _code(body["code"]),
        "lines": _lines(body["lines"]),
        "file": FileState(body["file"]).value,
        "attempt": _number(body["attempt"], 1, 1000),
    }


def _run_ended(body: dict[str, Any]) -> dict[str, Any]:
    exactly(body, code=int, file=str, redacted=bool)
    if body["file"] not in {WHOLE, UNSTORED, *FileState}:
        raise _wrong("a file's state")
    return {**body, "code": _code(body["code"])}


def _checked(body: dict[str, Any]) -> dict[str, Any]:
    exactly(body, accepted=bool, code=int, lines=list)
    return {"accepted": body["accepted"], "code": _code(body["code"]), "lines": _lines(body["lines"])}


def _trouble(body: dict[str, Any]) -> dict[str, Any]:
    exactly(body, what=str, detail=str)
    if body["what"] not in set(Trouble):
        raise _wrong("a trouble")
    return {"what": Trouble(body["what"]).value, "detail": GuestText(body["detail"])}


_BODIES: Final[dict[ReportKind, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    ReportKind.STARTED: _started,
    ReportKind.SCREEN_UP: _empty,
    ReportKind.BROWSER_SANDBOX: _browser_sandbox,
    ReportKind.PAGE_ASKED: _page_asked,
    ReportKind.TERMINAL_ASKS: _empty,
    ReportKind.CREDENTIAL: _credential,
    ReportKind.NOTHING_YET: _empty,
    ReportKind.CLI_ENDED: _cli_ended,
    ReportKind.RUN_ENDED: _run_ended,
    ReportKind.CHECKED: _checked,
    ReportKind.TROUBLE: _trouble,
}


def _files(files: dict[str, Any]) -> dict[str, dict[str, Any]]:
    if "credential" not in files or len(files) > _FILES or not all(_FILE_NAME.match(name) for name in files):
        raise _wrong("a report's files")
    for file in files.values():
        if not isinstance(file, dict):
            raise _wrong("a file")
        exactly(file, content=str, mtime_ns=int, mode=int, new=bool)
        _number(file["mtime_ns"], 0, LATEST_NS)
        _number(file["mode"], 0, 0o7777)
        # before decoding: nothing that is too large is unpacked
        if len(file["content"]) > (MAX_CREDENTIAL + 2) // 3 * 4:
            raise _wrong("a file's size")
        try:
            content = base64.b64decode(file["content"], validate=True)
        except (binascii.Error, ValueError):
            raise _wrong("a file's encoding") from None
        if len(content) > MAX_CREDENTIAL:
            raise _wrong("a file's size")
    return files


def _lines(lines: list[Any]) -> list[GuestText]:
    if len(lines) > _LINES or not all(isinstance(line, str) and len(line) <= _LINE for line in lines):
        raise _wrong("a CLI's lines")
    return [GuestText(line) for line in lines]


def _code(code: int) -> int:
    return _number(code, -255, 255)


def _number(number: int, least: int, most: int) -> int:
    if not least <= number <= most:
        raise _wrong("a number")
    return number


def exactly(table: dict[str, Any], **kinds: type) -> None:
    """Raise unless the object has exactly these fields with these types."""
    if table.keys() != kinds.keys():
        raise _wrong(f"the fields of a message ({len(table)} of them)")
    for name, kind in kinds.items():
        if type(table[name]) is not kind:
            raise _wrong(f"the field {name}")


def _wrong(what: str) -> MachineError:
    return MachineError(Code.GUEST_PROTOCOL, detail=f"{what} is not of the protocol")
