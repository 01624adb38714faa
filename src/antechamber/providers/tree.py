"""A folder of installed files whose every byte is known: written down once, compared at each start of the service."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MANIFEST: Final = "antechamber.json"
"""Name of the manifest in the root of the folder that it describes."""

_MAX_MANIFEST: Final = 4 * 2**20  # bytes
_NOT_SET: Final = stat.S_IWGRP | stat.S_IWOTH | stat.S_ISUID | stat.S_ISGID


class TreeError(Exception):
    """The folder is not what its manifest says; the text names the first files that differ."""


@dataclass(frozen=True, slots=True)
class Tree:
    """What a manifest says of a folder."""

    label: dict[str, str]
    """What the installer wrote about it: provider, version, lock."""
    files: dict[str, tuple[int, str]]
    """Size in bytes and SHA-256 of each file, by its path with slashes."""

    @property
    def sha256(self) -> str:
        """One hash of all files, in lower-case hex."""
        return hashlib.sha256(_canonical(self.files)).hexdigest()


def settle(folder: Path) -> None:
    """Give every folder 0755 and every file 0755 or 0644; raises TreeError for what is neither."""
    folder.chmod(0o755)
    for path in _walk(folder):
        mode = path.lstat().st_mode
        executable = stat.S_ISDIR(mode) or mode & 0o111
        path.chmod(0o755 if executable else 0o644)


def write_down(folder: Path, label: dict[str, str]) -> Tree:
    """Hash the folder's files and write its manifest."""
    tree = Tree(label, _hashes(folder))
    manifest = folder / MANIFEST
    manifest.write_bytes(_canonical({"v": 1, "label": tree.label, "files": tree.files}))
    manifest.chmod(0o644)
    return tree


def compare(folder: Path, label: dict[str, str]) -> Tree:
    """Hash the folder's files again and return its manifest.

    Raises TreeError unless each byte is as written down, nobody else may write to it, and the manifest has that label.
    """
    try:
        with (folder / MANIFEST).open("rb") as manifest:
            written = json.loads(manifest.read(_MAX_MANIFEST))
        files = {name: (int(size), str(digest)) for name, (size, digest) in written["files"].items()}
        tree = Tree({str(key): str(value) for key, value in written["label"].items()}, files)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise TreeError(f"the manifest cannot be read: {error!r}") from error
    if tree.label != label:
        raise TreeError("the manifest is of another version")
    sizes = {name: size for name, (size, _) in tree.files.items()}
    found = {name: path.lstat().st_size for name, path in _files(folder).items()}
    if sizes != found:
        raise TreeError(_differing(sizes, found))
    hashes = _hashes(folder)
    if hashes != tree.files:
        raise TreeError(_differing(tree.files, hashes))
    return tree


def size(folder: Path) -> int:
    """Return the bytes of the folder's files, also while somebody writes to it."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(root) / name).lstat().st_size
            except FileNotFoundError:
                continue
    return total


def _walk(folder: Path) -> list[Path]:
    found = []
    for root, folders, names in os.walk(folder, onerror=_raise):
        for name in (*folders, *names):
            path = Path(root) / name
            mode = path.lstat().st_mode
            if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
                raise TreeError(f"{path.relative_to(folder)} is neither a file nor a folder")
            found.append(path)
    return found


def _raise(error: OSError) -> None:
    raise error


def _files(folder: Path) -> dict[str, Path]:
    files = {}
    owner = folder.stat().st_uid
    if owner not in {0, os.geteuid()}:
        raise TreeError(f"it belongs to uid {owner}, this service runs as uid {os.geteuid()}")
    for path in [folder, *_walk(folder)]:
        status = path.lstat()
        name = path.relative_to(folder).as_posix()
        if status.st_mode & _NOT_SET or status.st_uid != owner:
            raise TreeError(f"others may write to {name}")
        if stat.S_ISREG(status.st_mode) and name != MANIFEST:
            files[name] = path
    return files


def _hashes(folder: Path) -> dict[str, tuple[int, str]]:
    files = _files(folder)
    # the largest first: one thread hashes it while the others do the many small ones
    order = sorted(files, key=lambda name: files[name].lstat().st_size, reverse=True)
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="hash") as pool:
        return dict(zip(order, pool.map(lambda name: _hash(files[name]), order), strict=True))


def _hash(path: Path) -> tuple[int, str]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 - a descriptor, not a path
        digest = hashlib.file_digest(file, "sha256")
        return file.tell(), digest.hexdigest()


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _differing(expected: dict[str, int] | dict[str, tuple[int, str]], found: object) -> str:
    other = dict(found) if isinstance(found, dict) else {}
    names = sorted(name for name in {*expected, *other} if expected.get(name) != other.get(name))
    return f"{len(names)} files differ: {', '.join(names[:5])}"
