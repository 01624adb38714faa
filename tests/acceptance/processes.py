"""What the host's /proc says of a machine's processes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """One process, as the host sees it."""

    pid: int
    parent: int
    uid: int
    seccomp: int
    depth: int
    """How many PID namespaces deep, counted from the host's."""
    argv: tuple[str, ...]

    @property
    def line(self):
        return " ".join(self.argv)


def look(pid):
    """Return a process, or None when there is none (any more); a zombie is none."""
    folder = Path("/proc", str(pid))
    try:
        fields = dict(line.split(":\t", 1) for line in (folder / "status").read_text().splitlines() if ":\t" in line)
        argv = (folder / "cmdline").read_bytes().rstrip(b"\0").decode(errors="replace").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return None
    if fields["State"].startswith(("Z", "X")):
        return None
    return Process(
        pid=int(fields["Pid"]),
        parent=int(fields["PPid"]),
        uid=int(fields["Uid"].split()[1]),
        seccomp=int(fields["Seccomp"]),
        depth=len(fields["NSpid"].split()),
        argv=tuple(argv),
    )


def everything():
    """Return all processes of the host, by pid."""
    found = (look(int(path.name)) for path in Path("/proc").iterdir() if path.name.isdigit())
    return {process.pid: process for process in found if process is not None}


def below(pid):
    """Return the processes that descend from that one, without it."""
    living = everything()
    found = {pid}
    more = True
    while more:
        more = {one.pid for one in living.values() if one.parent in found} - found
        found |= more
    return [living[one] for one in sorted(found - {pid}) if one in living]


def environment(pid):
    """Return the environment with which a process was started."""
    return Path("/proc", str(pid), "environ").read_bytes().decode(errors="replace")
