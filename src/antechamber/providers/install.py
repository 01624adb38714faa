"""Installing the vendors' tools from npm's lock files or a folder, and proving at each start that they are untouched.

A tool lies in `SHARED/cli/PROVIDER-VERSION-LOCK/`, complete or not at all: it is made in a folder beside that and
renamed. npm checks each package against the integrity hash in our lock; no install script runs; no lock names an
address. A folder of the operator's own is copied, and its files must have the definition's hash. All of this blocks:
call it from a thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from antechamber.errors import Code, OperatorError
from antechamber.providers import tree
from antechamber.providers.node import installed_node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from antechamber.providers.spec import ProviderSpec

_LOOK_EVERY: Final = 0.25  # seconds between two looks at how much npm has unpacked
_NPM_OPTIONS: Final = (
    "--ignore-scripts",
    "--bin-links=false",
    "--no-audit",
    "--no-fund",
    "--no-update-notifier",
    "--loglevel=error",
)


class Progress(Protocol):
    """Is told how far an installation is; `total` is the size that the definition expects."""

    def __call__(self, done: int, total: int) -> None:
        """Take the bytes unpacked so far and in all."""


@dataclass(frozen=True, slots=True)
class Installed:
    """One installed tool, each of whose files has just been hashed."""

    folder: Path
    """What the machine sees at /opt/cli."""
    version: str
    sha256: str
    """One hash of all files, shown to the owner."""


def install(
    spec: ProviderSpec, shared_dir: Path, progress: Progress | None = None, *, again: bool = False
) -> Installed:
    """Install a provider's tool at the pinned version, or find it installed; `again` replaces what is there.

    Several installations at once wait for one another. Raises OperatorError (provider_not_installed) when npm cannot.
    """
    target = cli_folder(spec, shared_dir)
    try:
        _make_public(target.parent)
        with _only_one(target.parent / f".{spec.id}.lock"):
            if again or not target.exists():
                _replace(spec, target, progress)
    except OSError as error:
        raise OperatorError(
            Code.PROVIDER_NOT_INSTALLED,
            message=f"{spec.name} could not be installed: {error.strerror or 'the folder cannot be written'}.",
            next_step=f"See to the folder {target.parent}, then run `antechamber providers install` again.",
            detail=repr(error),
        ) from error
    return verify(spec, shared_dir)


def _replace(spec: ProviderSpec, target: Path, progress: Progress | None) -> None:
    for left in target.parent.glob(f".{spec.id}-*"):  # of an installation that was killed: we hold the lock
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=f".{spec.id}-", dir=target.parent) as scratch:
        made = Path(scratch) / "made"
        if spec.npm_folder is not None:
            _npm_ci(spec, spec.npm_folder, made, progress)
        else:
            _copy(spec, made)
        _settle(spec, made)
        if target.exists():
            target.rename(Path(scratch) / "old")
        made.rename(target)


def verify(spec: ProviderSpec, shared_dir: Path) -> Installed:
    """Hash the installed tool again; raises OperatorError provider_not_installed or provider_altered."""
    folder = cli_folder(spec, shared_dir)
    if not folder.is_dir():
        raise OperatorError(
            Code.PROVIDER_NOT_INSTALLED, message=f"{spec.name} is not installed.", detail=f"no folder {folder}"
        )
    try:
        found = tree.compare(folder, _label(spec))
    except (tree.TreeError, OSError) as error:
        raise OperatorError(
            Code.PROVIDER_ALTERED, message=f"{spec.name} is not what was installed.", detail=f"{folder}: {error}"
        ) from error
    return Installed(folder, spec.version, found.sha256)


def node(shared_dir: Path) -> Path:
    """Return the folder that a machine sees at /opt/node, with `bin/node`; copied from the wheel when it is missing.

    Its name ends in the hash of the binary, which is compared each time.
    """
    binary = installed_node().binary
    with binary.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    target = shared_dir / f"node-{digest[:16]}"
    _make_public(shared_dir)
    with _only_one(shared_dir / ".node.lock"):
        if not _holds(target / "bin" / "node", digest):
            with tempfile.TemporaryDirectory(prefix=".node-", dir=shared_dir) as scratch:
                made = Path(scratch) / "made"
                (made / "bin").mkdir(parents=True)
                shutil.copyfile(binary, made / "bin" / "node")
                (made / "bin" / "node").chmod(0o755)
                tree.settle(made)
                if target.exists():
                    target.rename(Path(scratch) / "old")
                made.rename(target)
    return target


def cli_folder(spec: ProviderSpec, shared_dir: Path) -> Path:
    """Return where this version of a provider's tool lies or would lie."""
    return shared_dir / "cli" / f"{spec.id}-{spec.version}-{_source_hash(spec)[:16]}"


def _label(spec: ProviderSpec) -> dict[str, str]:
    return {"provider": spec.id, "version": spec.version, "lock": _source_hash(spec)}


def _source_hash(spec: ProviderSpec) -> str:
    """Return the hash that the definition pins the tool by: of the lock, or of all files."""
    if spec.npm_folder is None:
        return spec.definition.install.sha256 or ""
    return hashlib.sha256((spec.npm_folder / "package-lock.json").read_bytes()).hexdigest()


def _copy(spec: ProviderSpec, folder: Path) -> None:
    source = spec.tool_folder
    if source is None or not source.is_dir():
        raise OperatorError(
            Code.PROVIDER_NOT_INSTALLED,
            message=f"{spec.name} could not be installed: there is no folder {source}.",
            next_step="Put the tool there, or correct install.folder in its definition.",
        )
    # a link is copied as one, and refused when the folder is settled
    shutil.copytree(source, folder, symlinks=True)


def _npm_ci(spec: ProviderSpec, lock: Path, folder: Path, progress: Progress | None) -> None:
    folder.mkdir()
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(lock / name, folder / name)
    ours = installed_node()
    with tempfile.TemporaryFile() as said:
        npm = subprocess.Popen(
            [ours.binary, ours.npm, "ci", *_NPM_OPTIONS],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        try:
            while npm.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    npm.wait(timeout=_LOOK_EVERY)
                if progress is not None:
                    progress(min(tree.size(folder), spec.unpacked_bytes), spec.unpacked_bytes)
        finally:
            if npm.poll() is None:
                npm.kill()
                npm.wait()
        if npm.returncode != 0:
            said.seek(0)
            last = said.read(64 * 1024).decode(errors="replace").strip().splitlines()[-8:]
            raise OperatorError(
                Code.PROVIDER_NOT_INSTALLED,
                message=f"{spec.name} could not be installed: npm ended with code {npm.returncode}.",
                next_step="See the log for npm's words, then run `antechamber providers install` again.",
                detail=" / ".join(last),
            )


def _settle(spec: ProviderSpec, folder: Path) -> None:
    try:
        program = spec.program_in(folder)
        if not program.is_file():
            raise _no_program(spec, folder, program)
        if not spec.needs_node:
            program.chmod(0o755)
        tree.settle(folder)
        written = tree.write_down(folder, _label(spec))
    except tree.TreeError as error:
        raise OperatorError(
            Code.PROVIDER_NOT_INSTALLED,
            message=f"{spec.name} could not be installed: its files hold what they must not.",
            detail=str(error),
        ) from error
    wanted = spec.definition.install.sha256
    if wanted is not None and written.sha256 != wanted:
        raise OperatorError(
            Code.PROVIDER_ALTERED,
            message=f"{spec.name} is not what its definition says: its files have the hash {written.sha256}.",
            next_step="Look at what is in the folder; if it is right, write this hash into install.sha256.",
        )


def _no_program(spec: ProviderSpec, folder: Path, program: Path) -> OperatorError:
    if spec.npm_folder is None:
        return OperatorError(
            Code.PROVIDER_NOT_INSTALLED,
            message=f"{spec.name} could not be installed: {spec.tool_folder} has no {program.relative_to(folder)}.",
            next_step="Correct install.program in its definition.",
        )
    return OperatorError(
        Code.PROVIDER_NOT_INSTALLED,
        # npm ends with 0 also when it could not fetch a package that is for some computers only
        message=f"npm did not bring the program of {spec.name} for this computer.",
        next_step="See that npm reaches its registry, and use a glibc Linux on x86_64 or arm64. Behind a proxy that"
        " opens TLS npm leaves such a package out without a word, unless NODE_EXTRA_CA_CERTS names its certificate.",
        detail=f"npm did not bring {program.relative_to(folder)}",
    )


def _holds(path: Path, digest: str) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    except FileNotFoundError:
        return False


def _make_public(folder: Path) -> None:
    """Make the folder and its missing parents, each 0755 whatever the umask is."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            path.chmod(0o755)


@contextlib.contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
