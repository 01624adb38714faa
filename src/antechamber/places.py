"""Where things lie: made with the right modes, refused with the wrong owner."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import secrets
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from antechamber.errors import Code, OperatorError
from antechamber.model import IdPrefix, Secret, is_id, new_id, new_secret

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from antechamber.settings import Settings

LEAST_FREE: Final = 2 * 2**30
"""Bytes that a folder of the service should have free: less is said by `doctor` and on the dashboard."""

_SOCKET_PATH_LIMIT: Final = 100  # sun_path holds 107 bytes; the rest is room for a suffix
_LOCK_LOOK_S: Final = 0.05
_LONGEST_TOKEN: Final = 1024  # bytes
_TOKEN: Final = re.compile(rb"[\x21-\x7e]{32,}")
_ASIDE: Final = re.compile(r"\.(key|node|operator-token|metrics-token)\.[0-9a-f]{16}")
"""Under which names the vault and `_kept` write a small file before it is linked to its own."""
_LONGEST_IN_RUN: Final = len("/mac_00000000000000000000/doors/egress.sock")
_OTHER_PLACE: Final = "Name another one by ANTECHAMBER_DATA_DIR, ANTECHAMBER_RUN_DIR or ANTECHAMBER_SHARED_DIR."


@dataclass(frozen=True, slots=True)
class Places:
    """The folders of one installation."""

    data: Path
    """0700: database, key, token, control socket."""
    run: Path
    """0711: one folder per machine; short, because socket paths are."""
    shared: Path
    """0755 and so are its parents: what machines read."""

    @property
    def database(self) -> Path:
        """The embedded database."""
        return self.data / "antechamber.db"

    @property
    def key(self) -> Path:
        """The key file."""
        return self.data / "key"

    @property
    def machine_logs(self) -> Path:
        """The folder of what failed machines printed."""
        return self.data / "machine-logs"

    @property
    def control(self) -> Path:
        """The service's control socket."""
        return self.data / "control.sock"

    @property
    def node(self) -> Path:
        """The file with the id of this service's node."""
        return self.data / "node"

    @property
    def token(self) -> Path:
        """The file with the operator's token."""
        return self.data / "operator-token"

    @property
    def metrics_token(self) -> Path:
        """The file with the token that reads the metrics and nothing else."""
        return self.data / "metrics-token"


def place(settings: Settings) -> Places:
    """Return the folders of these settings; makes nothing. Raises OperatorError when a path is too long for sockets."""
    root = os.geteuid() == 0
    home = Path(os.environ.get("HOME") or f"/tmp/antechamber-{os.geteuid()}")  # noqa: S108 - owner-checked when made
    base = Path("/var/lib/antechamber") if root else _xdg("XDG_DATA_HOME", home / ".local/share") / "antechamber"
    if root:
        run = Path("/run/antechamber")
    elif "XDG_RUNTIME_DIR" in os.environ and Path(os.environ["XDG_RUNTIME_DIR"]).is_dir():
        run = Path(os.environ["XDG_RUNTIME_DIR"]) / "antechamber"
    else:
        run = Path(f"/tmp/antechamber-{os.geteuid()}")  # noqa: S108 - created 0700 and owner-checked
    places = Places(
        data=settings.data_dir or base / settings.world,
        run=settings.run_dir or run,
        shared=settings.shared_dir or _shared(base),
    )
    longest = len(os.fsencode(places.run)) + _LONGEST_IN_RUN
    if longest > _SOCKET_PATH_LIMIT:
        message = f"The run folder's path is too long for unix sockets: {places.run} would need {longest} bytes."
        raise OperatorError(
            Code.MISCONFIGURED,
            message=message,
            next_step=f"Set ANTECHAMBER_RUN_DIR to a path of {_SOCKET_PATH_LIMIT - _LONGEST_IN_RUN} bytes or fewer.",
        )
    return places


def _xdg(name: str, otherwise: Path) -> Path:
    value = os.environ.get(name, "")
    return Path(value) if value.startswith("/") else otherwise


def _shared(base: Path) -> Path:
    """Return a folder that other uids can reach: a machine of a uid of its own cannot enter a 0700 home."""
    for parent in [base, *base.parents]:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            try:
                open_to_others = parent.stat().st_mode & stat.S_IXOTH
            except PermissionError:
                open_to_others = 0
            if not open_to_others:
                return Path(f"/var/tmp/antechamber-{os.geteuid()}")  # noqa: S108 - owner-checked when made
    return base / "shared"


def prepare(places: Places) -> None:
    """Make the folders that are missing; raises OperatorError for one that somebody else owns."""
    _folder(places.data, 0o700)
    _folder(places.run, 0o711 if os.geteuid() == 0 else 0o700)
    _folder(places.shared, 0o755)


def _folder(path: Path, mode: int) -> None:
    try:
        missing = [parent for parent in [path, *path.parents] if not parent.exists()]
        for parent in reversed(missing):
            parent.mkdir(mode=0o755 if parent != path else mode)
            parent.chmod(0o755 if parent != path else mode)
        found = path.lstat()
    except OSError as error:
        raise OperatorError(
            Code.MISCONFIGURED,
            message=f"The folder {path} cannot be made: {error.strerror}.",
            next_step=f"Make it. Or: {_OTHER_PLACE}",
        ) from error
    if stat.S_ISLNK(found.st_mode) or not stat.S_ISDIR(found.st_mode):
        raise OperatorError(Code.MISCONFIGURED, message=f"{path} is not a folder.", next_step=_OTHER_PLACE)
    if found.st_uid != os.geteuid():
        raise OperatorError(
            Code.WRONG_OWNER,
            message=f"{path} belongs to uid {found.st_uid}, and this runs as uid {os.geteuid()}.",
            next_step=f"Run as uid {found.st_uid}, or name another folder.",
        )
    if stat.S_IMODE(found.st_mode) & ~mode:
        path.chmod(mode)


def clear(data: Path) -> None:
    """Remove what a kill left of a key or a token that was being made; only for whoever holds the directory's lock."""
    for path in data.iterdir():
        if _ASIDE.fullmatch(path.name):
            path.unlink()


class DataLock:
    """The right to be the one that opens a data directory, held while the process lives."""

    def __init__(self, descriptor: int) -> None:
        """Hold it; `take` does."""
        self._descriptor = descriptor

    @classmethod
    async def take(cls, data: Path, *, within: timedelta) -> DataLock:
        """Take it, waiting a while: a command that does one thing holds it shortly.

        Raises OperatorError already_running, or wrong_owner when the lock is another account's.
        """
        path = data / "lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unusable(path, error) from error
        lock = cls(descriptor)
        until = time.monotonic() + within.total_seconds()
        try:
            # nobody tells when another process lets go
            while not (held := _locked(descriptor)) and time.monotonic() < until:  # noqa: ASYNC110 - see above
                await asyncio.sleep(_LOCK_LOOK_S)
        except BaseException:
            lock.release()
            raise
        if not held:
            lock.release()
            raise OperatorError(Code.ALREADY_RUNNING, message=f"Another service uses the data directory {data}.")
        return lock

    def release(self) -> None:
        """Give it up."""
        os.close(self._descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def token_in(path: Path) -> Secret:
    """Return the token that lies in a file, the operator's or a scraper's, made at first use (0600).

    Raises OperatorError when the file is another account's, others can read it, or it holds no token.
    """
    found, text = _kept(path, new_secret)
    again = "Delete it: a new token is made at the next start."
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise OperatorError(Code.KEY_EXPOSED, message=f"{path} can be read by others.", next_step=again)
    if not _TOKEN.fullmatch(text):
        # an empty token would be one that everybody has
        raise OperatorError(Code.KEY_UNREADABLE, message=f"{path} does not hold a token.", next_step=again)
    return Secret(text.decode())


def node_id(path: Path) -> str:
    """Return the id of this service's node, made at first use: by it a restarted service finds its machines.

    Raises OperatorError when the file is another account's or holds no such id.
    """
    _, text = _kept(path, lambda: Secret(new_id(IdPrefix.NODE)))
    node = text.decode(errors="replace")
    if not is_id(node, IdPrefix.NODE):
        raise OperatorError(
            Code.MISCONFIGURED,
            message=f"{path} does not hold the id of a node.",
            next_step="Restore it; or delete it, and the service serves as a new node that knows none of its machines.",
        )
    return node


def _kept(path: Path, first: Callable[[], Secret]) -> tuple[os.stat_result, bytes]:
    """Return the state and the text of a small file of this account's, made with its first text when missing."""
    try:
        return _read(path)
    except FileNotFoundError:
        # written aside and linked: whole or not there, also when this is killed or somebody else is as quick
        aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
                file.write(first().reveal() + "\n")
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
        except OSError as error:
            raise _unusable(path, error) from error
        finally:
            aside.unlink(missing_ok=True)
        return _read(path)


def _read(path: Path) -> tuple[os.stat_result, bytes]:
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            found = os.fstat(file.fileno())
            text = file.read(_LONGEST_TOKEN) if stat.S_ISREG(found.st_mode) else b""
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unusable(path, error) from error
    if found.st_uid != os.geteuid():
        raise _others(path, found.st_uid)
    return found, text.strip()


def _others(path: Path, owner: int) -> OperatorError:
    return OperatorError(
        Code.WRONG_OWNER,
        message=f"{path} belongs to uid {owner}, and this runs as uid {os.geteuid()}.",
        next_step=f"Run as uid {owner}, or give it to uid {os.geteuid()} with chown.",
    )


def _unusable(path: Path, error: OSError) -> OperatorError:
    with contextlib.suppress(OSError):
        owner = path.lstat().st_uid
        if owner != os.geteuid():
            return _others(path, owner)
    message = f"{path} cannot be used: {error.strerror}."
    return OperatorError(Code.MISCONFIGURED, message=message, next_step="Move it away, or name another data directory.")
