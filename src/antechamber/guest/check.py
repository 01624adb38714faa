"""Offline checks of a stored credential: by the CLI's own word, or by our parser where it has none."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from antechamber.guest import files, programs
from antechamber.guest.files import WholeFile
from antechamber.guest.programs import LastLines

if TYPE_CHECKING:
    from collections.abc import Callable

    from antechamber.guest.job import Job
    from antechamber.guest.layout import Layout

_TIME_S = 30.0
_OUTPUT = 256 * 1024


@dataclass(frozen=True)
class Verdict:
    """Whether the credential is accepted, and what was said."""

    accepted: bool
    code: int
    lines: list[str]


async def check(job: Job, layout: Layout, variables: dict[str, str]) -> Verdict:
    """Do the job's check; raises OSError when its program cannot be started."""
    assert job.check is not None  # noqa: S101 - a job of this kind has one
    if job.check.parse:
        return _parsed(job, layout)
    process = await programs.start(job.check.argv, variables, output=asyncio.subprocess.PIPE, cwd=layout.home)
    assert process.stdout is not None  # noqa: S101 - it was asked for
    said = bytearray()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_TIME_S):
            while (piece := await process.stdout.read(64 * 1024)) and len(said) < _OUTPUT:
                said += piece
            await process.wait()
    late = process.returncode is None
    code = await programs.stop(process, patience=0.5)
    text = said.decode(errors="replace")
    kept = LastLines()
    kept.feed(text)
    accepted = not late and code == job.check.accept_code and _holds(text, job.check.accept_json)
    return Verdict(accepted, code, [*kept.lines(), *(["it did not end in time"] if late else [])])


def _holds(text: str, wanted: dict[str, Any]) -> bool:
    if not wanted:
        return True
    try:
        # a CLI may print a notice before its answer
        answer = json.loads(text[text.index("{") : text.rindex("}") + 1])
    except ValueError:
        return False
    return isinstance(answer, dict) and all(
        name in answer and answer[name] == value and isinstance(answer[name], type(value))
        for name, value in wanted.items()
    )


def _gemini(value: dict[str, Any]) -> list[str]:
    """Return what is wrong with an `oauth_creds.json` (vendor-clis.md, Gemini CLI)."""
    faults = [
        f"{name} is not text"
        for name in ("access_token", "refresh_token", "scope", "token_type")
        if not isinstance(value.get(name), str) or not value[name]
    ]
    expiry = value.get("expiry_date")
    if isinstance(expiry, bool) or not isinstance(expiry, (int, float)) or expiry < 1_000_000_000_000:
        faults.append("expiry_date is not a time in milliseconds")
    if "id_token" in value and (not isinstance(value["id_token"], str) or value["id_token"].count(".") != 2):
        faults.append("id_token is not a token")
    return faults


PARSERS: dict[str, Callable[[dict[str, Any]], list[str]]] = {"gemini": _gemini}


def _parsed(job: Job, layout: Layout) -> Verdict:
    parser = PARSERS.get(job.check.parse if job.check else "")
    watched = job.files.get("credential")
    if parser is None or watched is None:
        return Verdict(accepted=False, code=2, lines=["there is no such parser"])
    found = files.look(layout.in_home(watched.path), watched)
    if not isinstance(found, WholeFile):
        return Verdict(accepted=False, code=1, lines=[f"the file is {found.value}"])
    faults = parser(json.loads(found.content))
    return Verdict(accepted=not faults, code=1 if faults else 0, lines=faults)
