"""The job that the host hands over: what to run, what to watch, what to report."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import Any

_FILE_LIMIT = 256 * 1024


class BadJobError(Exception):
    """The job is not one that this agent understands; names the field."""


@dataclass(frozen=True)
class Answer:
    """What to type when the CLI's terminal shows something."""

    expect: re.Pattern[str]
    send: str


@dataclass(frozen=True)
class Drive:
    """How the CLI is driven: `plain`, `pty` with answers, or `acp`."""

    how: str = "plain"
    answers: tuple[Answer, ...] = ()
    acp_method: str = ""


@dataclass(frozen=True)
class Seed:
    """A file to write before the CLI starts."""

    path: str
    content: str
    mode: int


@dataclass(frozen=True)
class Watched:
    """A file to capture: where it appears and what makes it whole."""

    path: str
    required: tuple[tuple[str, ...], ...]
    """JSON paths that must be there and not null or empty text."""
    max_bytes: int = _FILE_LIMIT


@dataclass(frozen=True)
class Check:
    """An offline check: a command and what it must answer, or one of our own parsers."""

    argv: tuple[str, ...] = ()
    accept_code: int = 0
    accept_json: dict[str, Any] = field(default_factory=dict)
    parse: str = ""


@dataclass(frozen=True)
class Streams:
    """How a run's CLI is spoken with."""

    terminal: bool = False
    held: bool = False
    """Whether the CLI waits for its reader; else the last of what it wrote is kept."""
    given: bytes | None = None
    """All of the CLI's input, which ends with it; None: its reader types it."""


@dataclass(frozen=True)
class Job:
    """One job."""

    kind: str
    argv: tuple[str, ...]
    drive: Drive
    env: dict[str, str]
    clear_env: tuple[str, ...]
    screen: bool
    browser: bool
    seeds: tuple[Seed, ...]
    files: dict[str, Watched]
    """`credential`, and the companions by name."""
    companion_wait_s: float
    page_wait_s: float
    check: Check | None
    cli_version: str = ""
    streams: Streams = Streams()
    folder: str | None = None
    """Where a run's CLI works; None: in an empty folder."""


def _get(table: dict[str, Any], name: str, kind: type | tuple[type, ...], default: Any = None) -> Any:
    value = table.get(name, default)
    if value is None and name not in table:
        raise BadJobError(name)
    # bool is an int to isinstance, and never meant where a number is
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise BadJobError(name)
    return value


def _texts(table: dict[str, Any], name: str) -> tuple[str, ...]:
    values = _get(table, name, (list, tuple), [])
    if not all(isinstance(value, str) for value in values):
        raise BadJobError(name)
    return tuple(values)


def _path(table: Any) -> str:
    if not isinstance(table, dict):
        raise BadJobError("path")
    path = str(_get(table, "path", str))
    if not path.startswith("~/") or ".." in path.split("/") or path.endswith("/"):
        raise BadJobError("path")
    return path


def _watched(table: Any) -> Watched:
    if not isinstance(table, dict):
        raise BadJobError("files")
    required = tuple(tuple(path.split(".")) for path in _texts(table, "required"))
    limit = min(_get(table, "max_bytes", int, _FILE_LIMIT), _FILE_LIMIT)
    return Watched(_path(table), required, limit)


def _drive(table: dict[str, Any]) -> Drive:
    how = _get(table, "how", str, "plain")
    if how not in {"plain", "pty", "acp"}:
        raise BadJobError("drive.how")
    try:
        answers = tuple(
            Answer(re.compile(answer["expect"]), str(answer["send"])) for answer in _get(table, "answers", list, [])
        )
    except (KeyError, TypeError, re.error) as error:
        raise BadJobError("drive.answers") from error
    return Drive(how, answers, table.get("acp_method") or "")


def _streams(table: dict[str, Any]) -> Streams:
    given = _get(table, "input", (str, type(None)), "") if "input" in table else None
    try:
        typed = None if given is None else base64.b64decode(given, validate=True)
    except (ValueError, binascii.Error) as error:
        raise BadJobError("streams.input") from error
    return Streams(_get(table, "terminal", bool, default=False), _get(table, "held", bool, default=False), typed)


def _folder(table: dict[str, Any]) -> str | None:
    if "folder" not in table:
        return None
    folder = str(_get(table, "folder", str))
    if not folder.startswith("/"):
        raise BadJobError("folder")
    return folder


def _check(table: dict[str, Any]) -> Check:
    check = Check(
        _texts(table, "argv"),
        _get(table, "accept_code", int, 0),
        _get(table, "accept_json", dict, {}),
        _get(table, "parse", str, ""),
    )
    if bool(check.argv) == bool(check.parse):
        raise BadJobError("check")
    return check


def parse(table: Any) -> Job:
    """Return the job of a JSON object; raises BadJobError naming the field that is at fault."""
    if not isinstance(table, dict):
        raise BadJobError("job")
    kind = _get(table, "kind", str)
    if kind not in {"sign_in", "check", "run"}:
        raise BadJobError("kind")
    env = _get(table, "env", dict, {})
    if not all(isinstance(name, str) and isinstance(value, str) for name, value in env.items()):
        raise BadJobError("env")
    seeds = tuple(
        Seed(_path(seed), str(_get(seed, "content", str)), _get(seed, "mode", int, 0o600))
        for seed in _get(table, "seed", (list, tuple), [])
    )
    check = _get(table, "check", (dict, type(None)), {}) or None
    job = Job(
        kind=kind,
        argv=_texts(table, "argv"),
        drive=_drive(_get(table, "drive", dict, {})),
        env=env,
        clear_env=_texts(table, "clear_env"),
        screen=_get(table, "screen", bool, default=False),
        browser=_get(table, "browser", bool, default=False),
        seeds=seeds,
        files={str(name): _watched(file) for name, file in _get(table, "files", dict, {}).items()},
        companion_wait_s=_get(table, "companion_wait_ms", (int, float), 500) / 1000,
        page_wait_s=float(_get(table, "page_wait_s", (int, float), 45)),
        check=_check(check) if check is not None else None,
        cli_version=_get(table, "cli_version", str, ""),
        streams=_streams(_get(table, "streams", dict, {})),
        folder=_folder(table),
    )
    if kind in {"sign_in", "run"} and (not job.argv or "credential" not in job.files):
        raise BadJobError("argv and files.credential are needed to sign in and to run")
    if kind == "check" and job.check is None:
        raise BadJobError("check")
    return job
