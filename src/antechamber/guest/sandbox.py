"""Proof from /proc that Chromium's own sandbox is on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sandbox:
    """What was seen; `ok` when there is a renderer and each one is confined."""

    ok: bool
    renderers: int
    detail: str


@dataclass(frozen=True)
class _Process:
    pid: int
    parent: int
    seccomp: int
    depth: int
    """How many PID namespaces deep it is, as seen from here: 1 is ours."""
    command: bytes


def _read(pid: int, proc: Path) -> _Process | None:
    try:
        lines = (proc / str(pid) / "status").read_text().splitlines()
        command = (proc / str(pid) / "cmdline").read_bytes()
    except OSError:
        return None  # ended meanwhile
    fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    try:
        return _Process(
            pid, int(fields["PPid"]), int(fields.get("Seccomp", "0")), len(fields["NSpid"].split()), command
        )
    except (KeyError, ValueError):
        return None


def look(browser: int, proc: Path = Path("/proc")) -> Sandbox:
    """Look at all renderers below that browser process.

    A renderer has `Seccomp: 2` and a PID namespace deeper than the browser's; zygotes and the GPU process may have 0.
    """
    pids = [int(entry.name) for entry in proc.iterdir() if entry.name.isdigit()]
    found = {pid: process for pid in pids if (process := _read(pid, proc))}
    top = found.get(browser)
    if top is None:
        return Sandbox(ok=False, renderers=0, detail="the browser does not run")
    renderers = [
        process for process in found.values() if b"--type=renderer" in process.command and _below(process, top, found)
    ]
    bad = [process for process in renderers if process.seccomp != 2 or process.depth <= top.depth]
    detail = "; ".join(f"renderer with seccomp {process.seccomp}, depth {process.depth}" for process in bad[:5])
    return Sandbox(ok=bool(renderers) and not bad, renderers=len(renderers), detail=detail or f"depth {top.depth}")


def _below(process: _Process, top: _Process, found: dict[int, _Process]) -> bool:
    for _ in range(64):
        if process.parent == top.pid:
            return True
        above = found.get(process.parent)
        if above is None:
            return False
        process = above
    return False
