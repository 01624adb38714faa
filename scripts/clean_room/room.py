"""One clean room: unpacked, entered, worked in, and removed without a trace."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scripts.clean_room.client_settings import ClientSettings

HERE: Final = Path(__file__).resolve().parent
ACCOUNTS: Final = ("root", "user")
STEPS: Final = ("test", "setup", "run", "demo", "wheel")
_NAMESPACES: Final = ("--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child=KILL", "--propagation=private")


@dataclass(frozen=True, slots=True)
class Result:
    """How one step went."""

    step: str
    seconds: int
    verdict: str


class Room:
    """A bare Debian of its own in a folder of its own; leaving the `with` block removes it."""

    def __init__(self, account: str, tarball: Path, settings: ClientSettings, archives: Path) -> None:
        self._account = account
        self._tarball = tarball
        self._settings = settings
        self._archives = archives
        self._folder = Path()
        self._root = Path()

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="antechamber-clean-room-", dir="/var/tmp"))
        self._root = self._folder / "root"
        self._root.mkdir()
        try:
            subprocess.run(["tar", "--extract", "--file", self._tarball, "--directory", self._root], check=True)
            self._settings.write(self._root)
            # nobody needs what dpkg has written to survive a power cut
            (self._root / "etc/dpkg/dpkg.cfg.d/clean-room").write_text("force-unsafe-io\n")
            (self._root / "room").mkdir(mode=0o755)
            for name in ("work.sh", "step.sh", "enter.sh"):
                shutil.copy(HERE / name, self._root / "room" / name)
            (self._root / "room" / "home").mkdir()
            self._settings.write_home(self._root / "room" / "home")
            words = " ".join(shlex.quote(f"{name}={value}") for name, value in self._settings.environment.items())
            (self._root / "room" / "environment").write_text(words)
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._remove()

    def work(self, repository: Path, steps: Sequence[str], tiers: str) -> int:
        """Clone the repository's present commit in the room and take the steps; return the exit code of it all."""
        bundle = self._root / "room" / "repository.bundle"
        git = ["git", "-C", str(repository), "-c", "safe.directory=*"]
        subprocess.run([*git, "bundle", "create", "--quiet", bundle, "HEAD"], check=True)
        binds = [f"{self._archives}:var/cache/apt/archives:rw"]
        binds += [f"{folder}:{folder.relative_to('/')}:ro" for folder in self._settings.folders]
        inside = ["/bin/sh", "/room/work.sh", self._account, " ".join(steps), tiers]
        command = [
            "unshare",
            *_NAMESPACES,
            "--",
            "sh",
            str(HERE / "enter.sh"),
            str(self._root),
            " ".join(binds),
            *inside,
        ]
        return subprocess.run(command, check=False, stdin=subprocess.DEVNULL).returncode

    def results(self) -> list[Result]:
        """Return what the room wrote down of each step."""
        noted = self._root / "room" / "results"
        rows = [line.split("\t") for line in noted.read_text().splitlines()] if noted.exists() else []
        return [Result(step, int(seconds), verdict) for step, seconds, verdict in rows]

    def keep(self, where: Path) -> None:
        """Copy out what the tests in the room wrote about themselves."""
        for written in self._root.glob("**/antechamber/test-results"):
            shutil.copytree(written, where, dirs_exist_ok=True, ignore_dangling_symlinks=True)

    def _remove(self) -> None:
        # the room's mounts ended with its namespace; should one ever be left, what it shows must not be removed
        left = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        if any(Path(mounted).is_relative_to(self._folder) for mounted in left):
            raise RuntimeError(f"{self._folder} still has something mounted in it, and stays")
        shutil.rmtree(self._folder)
