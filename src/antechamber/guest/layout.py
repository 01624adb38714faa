"""Where things lie in the machine; tests lay them elsewhere."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """Paths and addresses of one machine."""

    home: Path
    """The CLI's home; wiped after the capture."""
    work: Path = Path("/tmp/antechamber")  # noqa: S108 - the machine's own tmpfs, which nobody shares
    """Our own files and Chromium's profile; made 0700."""
    doors: Path = Path("/run/doors")
    anchors: Path = Path("/etc/antechamber/ca.pem")
    """Exists only in the practice world."""
    bundle: Path = Path("/etc/antechamber/bundle.pem")
    display: int = 0
    dns: tuple[str, int] = ("127.0.0.1", 53)
    forward: tuple[tuple[int, int], ...] = field(default=((443, 443), (80, 80)))
    """Pairs of the port that is listened on and the port that it stands for."""

    @classmethod
    def of_environment(cls) -> Layout:
        """Return the layout of a real machine."""
        return cls(home=Path(os.environ["HOME"]))

    @property
    def link(self) -> Path:
        """The link's door."""
        return self.doors / "link.sock"

    @property
    def screen(self) -> Path:
        """The screen's door."""
        return self.doors / "screen.sock"

    @property
    def egress(self) -> Path:
        """The egress door."""
        return self.doors / "egress.sock"

    @property
    def vnc(self) -> Path:
        """The X server's VNC socket, on the machine's own tmpfs."""
        return self.work / "vnc.sock"

    @property
    def opener(self) -> Path:
        """The socket on which the opener hands a URL to the agent."""
        return self.work / "open.sock"

    @property
    def commands(self) -> Path:
        """The folder that comes first on the CLI's PATH."""
        return self.work / "bin"

    @property
    def profile(self) -> Path:
        """Chromium's profile and home."""
        return self.work / "chromium"

    @property
    def project(self) -> Path:
        """Where a run's CLI is started: an empty folder."""
        return self.home / "project"

    def in_home(self, path: str) -> Path:
        """Return the place of a path that begins with `~/`."""
        return self.home / path.removeprefix("~/")
