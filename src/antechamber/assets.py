"""What machines read, copied to where they can read it: by content hash, readable by all, writable by nobody else.

The checkout, `.venv` and home directories are never bound into a machine; copies of what it needs lie in the shared
directory as `NAME-HASH`. A copy is made under another name, compared, and renamed, so a folder with the right name is
whole.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import stat
import subprocess
import time
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import antechamber.guest
from antechamber.errors import Code, OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

GUEST: Final = "guest"
_HASH_CHARACTERS: Final = 16
_CHUNK: Final = 1024 * 1024
_MACHINE_PYTHON: Final = "/usr/bin/python3"
_CACHE: Final = "__pycache__"

_BUILD: Final = "BUILD"
_GUEST_NAME: Final = re.compile(rf"{GUEST}-[0-9a-f]{{{_HASH_CHARACTERS}}}")
_MOUNTED: Final = re.compile(rf"/({GUEST}-[0-9a-f]{{{_HASH_CHARACTERS}}})(?=[ /])")
_HALF_DONE: Final = re.compile(rf"\.(altered|pruned)-.+|\..+-[0-9a-f]{{{_HASH_CHARACTERS}}}\.[0-9]+")
_UNUSED_KEPT_S: Final = 86_400.0
_ENTRY: Final = """\
import sys

# asyncio does without it, and the agent speaks no TLS: it would cost each machine 20 ms and some MiB
sys.modules["ssl"] = None

from antechamber.guest.main import main

main()
"""


def stage(source: Path, shared_dir: Path, name: str) -> Path:
    """Copy a folder into the shared directory unless it lies there already, whole; return the copy.

    Raises OperatorError (misconfigured) for what cannot be shared with machines: special files, links that lead out of
    the folder, files that cannot be read.
    """
    try:
        content = content_hash(source)
        with _locked(shared_dir):
            place = shared_dir / f"{name}-{content}"
            return _placed(place, content, content_hash, lambda making: _copy(source, making))
    except OSError as error:
        raise OperatorError(Code.MISCONFIGURED, message=f"{name} cannot be copied for machines.", detail=str(error)) \
            from error  # fmt: skip


def stage_guest(shared_dir: Path) -> Path:
    """Stage the guest agent, compiled for the machines' Python; the hash in the folder's name is the build id."""
    sources = _guest_sources()
    build = guest_build_id()

    def make(making: Path) -> None:
        for name, content in sources.items():
            path = making / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        # by hash and unchecked: the files' times are nothing that a machine should look at
        subprocess.run(
            [_MACHINE_PYTHON, "-I", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "."],
            cwd=making,
            check=True,
            capture_output=True,
        )
        _share(making)

    try:
        with _locked(shared_dir):
            return _placed(shared_dir / f"{GUEST}-{build}", build, _build_in, make)
    except (OSError, subprocess.CalledProcessError) as error:
        raise OperatorError(Code.MISCONFIGURED, message="The guest agent cannot be staged.", detail=str(error)) \
            from error  # fmt: skip


class ServedGuest:
    """The guest of this release, staged, and kept from being pruned for as long as a service gives it to machines."""

    def __init__(self, folder: Path, descriptor: int) -> None:
        """Hold it; `take` does."""
        self.folder = folder
        self._descriptor = descriptor

    @classmethod
    def take(cls, shared_dir: Path) -> ServedGuest:
        """Stage it and hold it, and remove the guests of other releases that nobody needs; raises as `stage_guest`."""
        while True:
            folder = stage_guest(shared_dir)
            try:
                descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                continue  # another release's service has pruned it this very moment
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            if folder.is_dir() and folder.stat().st_ino == os.fstat(descriptor).st_ino:
                break
            os.close(descriptor)
        prune_guests(shared_dir)
        return cls(folder, descriptor)

    def release(self) -> None:
        """Let others remove it, once no machine has it bound either."""
        os.close(self._descriptor)


def prune_guests(shared_dir: Path) -> list[str]:
    """Remove the staged guests that no service holds and no process of this host has mounted; return their names.

    What a kill left half copied or half removed goes too, at once.
    One that was staged within the last day stays: a service of a release that holds nothing yet may be about to use it.
    """
    with _locked(shared_dir):
        # whoever makes, replaces or prunes a copy holds the lock: what lies half done was left by a kill
        for path in shared_dir.iterdir():
            if _HALF_DONE.fullmatch(path.name):
                shutil.rmtree(path)
        mounted = _mounted_guests()
        pruned = []
        for place in sorted(shared_dir.glob(f"{GUEST}-*")):
            if not _GUEST_NAME.fullmatch(place.name) or place.name in mounted:
                continue
            if time.time() - place.lstat().st_mtime > _UNUSED_KEPT_S and _removed_unless_held(place):
                pruned.append(place.name)
    return pruned


def _removed_unless_held(place: Path) -> bool:
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        hidden = place.with_name(f".pruned-{place.name}")
        shutil.rmtree(hidden, ignore_errors=True)
        place.rename(hidden)
        shutil.rmtree(hidden)
        return True
    finally:
        os.close(descriptor)


def _mounted_guests() -> set[str]:
    """Return the names of guests that some process has mounted, in whatever namespace and of whatever installation."""
    names: set[str] = set()
    for mounts in Path("/proc").glob("[0-9]*/mountinfo"):
        # a process that has ended meanwhile has nothing mounted; the kernel lets everybody read those of others
        with suppress(OSError):
            names.update(_MOUNTED.findall(mounts.read_text(errors="replace")))
    return names


@cache
def guest_build_id() -> str:
    """Return the hash of the guest agent's sources, which it says in its handshake (file `BUILD` in its folder)."""
    return _hash_of({name: content for name, content in _guest_sources().items() if name != _BUILD})


def content_hash(folder: Path) -> str:
    """Return the hash of a folder's names, contents, links and executable bits; compiled Python is left out."""
    digest = hashlib.sha256()
    for path in _walk(folder):
        name = path.relative_to(folder).as_posix()
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            _add(digest, "link", name, os.fspath(path.readlink()).encode())
        elif stat.S_ISREG(mode):
            kind = "program" if mode & stat.S_IXUSR else "file"
            _add(digest, kind, name, _file_hash(path))
    return digest.hexdigest()[:_HASH_CHARACTERS]


def closed_parent(path: Path) -> Path | None:
    """Return the nearest folder at or above path that other accounts cannot enter, or None when all can."""
    for folder in (path, *path.parents):
        if folder.is_dir() and not folder.stat().st_mode & stat.S_IXOTH:
            return folder
    return None


@cache
def _guest_sources() -> Mapping[str, bytes]:
    package = Path(antechamber.guest.__file__).parent
    sources = {
        f"antechamber/guest/{path.relative_to(package).as_posix()}": path.read_bytes()
        for path in _walk(package)
        if path.is_file() and path.suffix == ".py"
    }
    sources["antechamber/__init__.py"] = (package.parent / "__init__.py").read_bytes()
    sources["__main__.py"] = _ENTRY.encode()
    return sources | {_BUILD: _hash_of(sources).encode()}


def _hash_of(sources: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name in sorted(sources):
        _add(digest, "file", name, hashlib.sha256(sources[name]).digest())
    return digest.hexdigest()[:_HASH_CHARACTERS]


def _add(digest: hashlib._Hash, kind: str, name: str, content: bytes) -> None:
    # lengths first: otherwise a name could be made to end where a content begins
    for part in (kind.encode(), name.encode(errors="surrogateescape"), content):
        digest.update(len(part).to_bytes(8, "big") + part)


def _file_hash(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _walk(folder: Path) -> Iterator[Path]:
    """Yield what the folder holds, sorted; raises OSError for a missing folder, OperatorError for what is no file."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path = Path(entry.path)
        mode = entry.stat(follow_symlinks=False).st_mode
        if entry.name == _CACHE:
            continue
        yield path
        if stat.S_ISDIR(mode):
            yield from _walk(path)
        elif not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
            raise OperatorError(Code.MISCONFIGURED, message=f"{path} is neither file, folder nor link.")


@contextmanager
def _locked(shared_dir: Path) -> Iterator[None]:
    for folder in reversed([shared_dir, *shared_dir.parents]):
        with suppress(FileExistsError):
            folder.mkdir()
            folder.chmod(0o755)
    descriptor = os.open(shared_dir / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _placed(place: Path, content: str, hash_of: Callable[[Path], str], make: Callable[[Path], None]) -> Path:
    if place.is_dir() and not place.is_symlink():
        if hash_of(place) == content:
            return place
        # machines that run keep what they have bound; new ones get a whole copy
        altered = place.with_name(f".altered-{place.name}-{os.getpid()}")
        place.rename(altered)
        shutil.rmtree(altered)
    making = place.with_name(f".{place.name}.{os.getpid()}")
    shutil.rmtree(making, ignore_errors=True)
    try:
        making.mkdir(mode=0o700)
        make(making)
        _confirm(place, hash_of(making) == content)
        making.chmod(0o755)
        making.rename(place)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        raise
    return place


def _confirm(place: Path, same: bool) -> None:  # noqa: FBT001 - the one thing that it looks at
    if not same:
        raise OperatorError(Code.MISCONFIGURED, message=f"{place.name} changed while it was copied.")


def _build_in(place: Path) -> str:
    return _hash_of(
        {
            path.relative_to(place).as_posix(): path.read_bytes()
            for path in _walk(place)
            if path.is_file() and path.name != _BUILD
        }
    )


def _copy(source: Path, making: Path) -> None:
    for path in _walk(source):
        target = making / path.relative_to(source)
        if path.is_symlink():
            if path.readlink().is_absolute() or not path.resolve().is_relative_to(source.resolve()):
                raise OperatorError(Code.MISCONFIGURED, message=f"The link {path} leads out of its folder.")
            target.symlink_to(path.readlink())
        elif path.is_dir():
            target.mkdir()
        else:
            shutil.copyfile(path, target)
            target.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
    _share(making)


def _share(making: Path) -> None:
    for path in making.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
        elif not path.is_symlink():
            path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
