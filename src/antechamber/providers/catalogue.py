"""All providers: those that are shipped, and an operator's own folders."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from antechamber.errors import CallerError, Code, OperatorError
from antechamber.ownership import others_may_write
from antechamber.providers.definition import Definition
from antechamber.providers.spec import ProviderSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from antechamber.settings import Settings

SHIPPED = Path(__file__).parent


class Providers:
    """The providers of one service; loaded once, never changed."""

    def __init__(self, specs: Sequence[ProviderSpec]) -> None:
        """Take valid providers, in the order in which they are shown."""
        self._specs = tuple(specs)
        self._by_name = {name: spec for spec in specs for name in (spec.id, *spec.aliases)}

    @classmethod
    def of(cls, settings: Settings) -> Providers:
        """Read what is shipped and what the operator's own folder holds; raises OperatorError as `load` does."""
        return cls.load(() if settings.providers_dir is None else (settings.providers_dir,))

    @classmethod
    def load(cls, extra_dirs: Sequence[Path] = ()) -> Providers:
        """Read every `*.toml` of our own folder and of those folders.

        Raises OperatorError (provider_invalid) that names each fault of each definition with its file and field.
        """
        faults: list[str] = []
        specs: list[ProviderSpec] = []
        for folder in (SHIPPED, *extra_dirs):
            files = sorted(folder.glob("*.toml"))
            if not folder.is_dir():
                faults.append(f"{folder}: there is no such folder")
            elif not files:
                faults.append(f"{folder}: holds no definition")
            own = folder != SHIPPED
            if own:
                faults += others_may_write(folder, *files)
            for file in files:
                definition = _read(file, faults)
                if definition is not None:
                    specs.append(spec := ProviderSpec(definition, folder))
                    if own and (npm := spec.npm_folder) is not None:
                        # nothing but the lock says which package is the tool
                        faults += others_may_write(npm, npm / "package.json", npm / "package-lock.json")
        faults += _clashes(specs)
        if faults:
            raise OperatorError(
                Code.PROVIDER_INVALID,
                message="Provider definitions are not valid: " + "; ".join(faults),
                detail="; ".join(faults),
            )
        return cls(specs)

    def get(self, id_or_alias: str) -> ProviderSpec:
        """Return the provider of that id or alias; raises CallerError (unknown_provider)."""
        try:
            return self._by_name[id_or_alias]
        except KeyError:
            raise CallerError(Code.UNKNOWN_PROVIDER) from None

    def all(self) -> tuple[ProviderSpec, ...]:
        """Return every provider, in the order in which they are shown."""
        return self._specs


def _read(file: Path, faults: list[str]) -> Definition | None:
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        faults.append(f"{file.name}: {error}")
        return None
    try:
        definition = Definition.model_validate(document)
    except ValidationError as error:
        faults += [_sentence(file, fault) for fault in error.errors(include_url=False, include_input=False)]
        return None
    before = len(faults)
    if definition.id != file.stem:
        faults.append(f"{file.name}: id: must be the file's name, {file.stem}")
    if definition.install.npm is not None:
        lock = file.parent / definition.install.npm / "package-lock.json"
        faults += [f"{file.name}: install.npm: {fault}" for fault in _lock_faults(lock, definition.install.version)]
    return definition if len(faults) == before else None


def _sentence(file: Path, fault: Any) -> str:
    where = ".".join(str(part) for part in fault["loc"]) or "the whole"
    return f"{file.name}: {where}: {fault['msg'].removeprefix('Value error, ')}"


def _lock_faults(path: Path, version: str) -> list[str]:
    """Tell what is wrong with the lock: another version, a package without a hash, a registry's address."""
    try:
        packages = json.loads(path.read_bytes())["packages"]
        entries = {name: dict(entry) for name, entry in packages.items() if name}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return [f"the lock cannot be read: {error!r}"]
    faults = [f"{name} has no integrity hash" for name, entry in entries.items() if not entry.get("integrity")]
    faults += [f"{name} names an address" for name, entry in entries.items() if "resolved" in entry]
    # a platform's package of codex is of version 1.2.3-linux-x64
    if version not in {str(entry.get("version", "")).split("-")[0] for entry in entries.values()}:
        faults.append(f"the lock holds no package of version {version}")
    return faults


def _clashes(specs: Sequence[ProviderSpec]) -> list[str]:
    owners: dict[str, list[ProviderSpec]] = {}
    for spec in specs:
        for name in {spec.id, *spec.aliases}:
            owners.setdefault(name, []).append(spec)
    return [
        f"{name} is claimed by {', '.join(str(spec.folder / f'{spec.id}.toml') for spec in found)}"
        for name, found in sorted(owners.items())
        if len(found) > 1
    ]
