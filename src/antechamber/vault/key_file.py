"""Keys in a file of this computer: a Tink keyset in JSON, 0600, changed whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import secrets
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from antechamber.errors import Code, OperatorError
from antechamber.vault import keyset

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class KeyFile:
    """The root that is a key file: each service has its own copy of it."""

    kind = "file"
    elsewhere = False
    shared = False

    def __init__(self, path: Path) -> None:
        """Use that file, which need not be there yet."""
        self._path = path
        self.place = str(path)

    def look(self, *, make: bool = False) -> keyset.KeysetRing:
        """Read the file; with `make` it is made where it is missing.

        Several may make it at once: all of them read the one that was first. OperatorError KEY_MISSING, KEY_EXPOSED
        (others may read it), WRONG_OWNER, or KEY_UNREADABLE (no keyset, no plain file, not to be made).
        """
        if make:
            try:
                return keyset.ring(_read(self._path), self.place)
            except FileNotFoundError:
                _make(self._path)
        return keyset.ring(self._text(), self.place)

    def add(self, *, first: bool) -> str:
        """Add a key to the file, or make it with its first one."""
        if first:
            return self.look(make=True).preferred
        changed, added = keyset.with_another(self._keyset())
        self._replace(changed)
        return added

    def remove(self, key_id: str) -> None:
        """Take a key out of the file; the file goes with the last one."""
        left = keyset.without(self._keyset(), key_id)
        if left is None:
            with _faults_of(self._path):
                self._path.unlink()
                _sync(self._path.parent)
            return
        self._replace(left)

    def _keyset(self) -> Any:
        return keyset.read(self._text(), self.place)

    def _text(self) -> str:
        try:
            return _read(self._path)
        except FileNotFoundError as error:
            raise OperatorError(Code.KEY_MISSING, detail=self.place) from error

    def _replace(self, changed: Any) -> None:
        text = json.dumps(changed, indent=2)
        if len(text) > keyset.LARGEST:
            raise OperatorError(
                Code.KEY_UNREADABLE,
                message="The key file has as many keys as it can hold.",
                next_step="Retire those that no credential needs: `antechamber keys list`, `antechamber keys retire`.",
            )
        keyset.read(text, self.place)
        with _written_aside(self._path, text) as aside, _faults_of(self._path):
            aside.replace(self._path)


def _read(path: Path) -> str:
    with _faults_of(path):
        # a link could lead to a file that somebody else can change, and opening a FIFO would wait for its writer
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _check_file(os.fstat(opened), path)
        with os.fdopen(os.dup(opened), "rb") as file:
            raw = file.read(keyset.LARGEST + 1)
    finally:
        os.close(opened)
    if len(raw) > keyset.LARGEST:
        raise OperatorError(Code.KEY_UNREADABLE, detail=f"{path} is larger than {keyset.LARGEST} bytes")
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError as error:
        raise OperatorError(Code.KEY_UNREADABLE, detail=f"{path} is not text") from error


def _check_file(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OperatorError(Code.KEY_UNREADABLE, detail=f"{path} is not a regular file")
    if status.st_uid != os.geteuid():
        raise _wrong_owner(path, status.st_uid)
    if status.st_mode & 0o077:
        raise OperatorError(Code.KEY_EXPOSED, detail=f"{path} has mode {stat.S_IMODE(status.st_mode):04o}, not 0600")


def _wrong_owner(path: Path, owner: int) -> OperatorError:
    ours = os.geteuid()
    return OperatorError(
        Code.WRONG_OWNER,
        message=f"The key file belongs to uid {owner}, but this runs as uid {ours}.",
        next_step=f"Run as uid {owner}, or give the file to uid {ours} with chown.",
        detail=str(path),
    )


def _make(path: Path) -> None:
    """Make the key file whole or not at all: written aside, then linked, which fails when somebody was quicker."""
    with _written_aside(path, keyset.made()) as aside, suppress(FileExistsError):
        os.link(aside, path, follow_symlinks=False)


@contextmanager
def _written_aside(path: Path, text: str) -> Iterator[Path]:
    """Give a file of that text beside the key file, to be put in its place within; what is left of it goes."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with _faults_of(path):
        try:
            opened = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(opened, "w", encoding="ascii") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            yield aside
        finally:
            aside.unlink(missing_ok=True)
        _sync(path.parent)


def _sync(folder: Path) -> None:
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextmanager
def _faults_of(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        if path.parent.is_dir():
            raise
        raise OperatorError(Code.KEY_UNREADABLE, detail=f"{path.parent} is not a directory") from None
    except OSError as error:
        with suppress(OSError):
            owner = path.lstat().st_uid
            if error.errno == errno.EACCES and owner != os.geteuid():
                raise _wrong_owner(path, owner) from error
        raise OperatorError(Code.KEY_UNREADABLE, detail=f"{path}: {error.strerror}") from error
