"""Judging what a machine captured: is the credential whole, what does it claim, what of its companions is kept.

The credential is stored as it is; a companion never is, only its values at the definition's paths. A value that the
definition does not know is a warning (the vendor changed something); one that it needs and does not find is an error.
No message quotes a value of a file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from antechamber.errors import Code, ProviderError
from antechamber.providers.claims import Reading, read_claims
from antechamber.providers.definition import CREDENTIAL
from antechamber.providers.paths import NotJsonError, all_unicode, find, leaves, put, read_object, split, wrong_with

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from antechamber.model import Claims
    from antechamber.providers.definition import Companion, Kept, Shape
    from antechamber.providers.spec import ProviderSpec

BUNDLE_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class CapturedFile:
    """One file as a guest sent it; its mode and path are the definition's matter, not the guest's."""

    content: bytes
    mtime_ns: int = 0
    """When it was last written, by the machine's clock or the CLI's word; it decides nothing."""
    new: bool = True
    """Whether the guest says that this content was not there before the CLI's start."""

    def __repr__(self) -> str:
        return f"CapturedFile({len(self.content)} bytes)"


@dataclass(frozen=True, slots=True)
class Parsed:
    """A whole credential, ready to be sealed."""

    bundle: bytes
    """Canonical JSON: {"v": 1, "provider": id, "files": {name: {"path", "mode", "content"}}}."""
    claims: Claims
    warnings: tuple[str, ...]
    """What the vendor changed, for the operator's log; no value is quoted."""

    def __repr__(self) -> str:
        return f"Parsed({len(self.bundle)} bytes, {self.claims!r}, {self.warnings!r})"


def parse(spec: ProviderSpec, files: Mapping[str, CapturedFile]) -> Parsed:
    """Judge captured files; raises ProviderError credential_{incomplete,malformed,too_large,stale}."""
    form = spec.definition
    credential = files.get(CREDENTIAL)
    if credential is None:
        raise ProviderError(Code.CREDENTIAL_INCOMPLETE, detail=f"{spec.id}: no credential file was sent")
    if len(credential.content) > form.credential.max_bytes:
        raise ProviderError(
            Code.CREDENTIAL_TOO_LARGE,
            detail=f"{spec.id}: {len(credential.content)} bytes, at most {form.credential.max_bytes}",
        )
    if not credential.new:
        raise ProviderError(Code.CREDENTIAL_STALE, detail=f"{spec.id}: the file was there before the tool's start")
    try:
        document = read_object(credential.content)
    except NotJsonError as error:
        raise ProviderError(Code.CREDENTIAL_MALFORMED, detail=f"{spec.id}: {form.credential.path}: {error}") from error
    if not all_unicode(document):
        raise ProviderError(
            Code.CREDENTIAL_MALFORMED, detail=f"{spec.id}: {form.credential.path}: a text in it is not Unicode"
        )
    shape = _shape(spec, document)
    warnings = [f"{form.credential.path}: {oddity}" for oddity in _oddities(shape.fields, document)]
    if shape is not form.credential.shapes[0]:
        warnings.append(f"{form.credential.path}: has the form {shape.name!r}")
    bundle = {CREDENTIAL: _file(form.credential.path, form.credential.mode, credential.content.decode())}
    documents = {CREDENTIAL: document}
    for name, companion in form.companions.items():
        kept = _reduce(companion, files.get(name), warnings)
        if kept:
            documents[name] = kept
            bundle[name] = _file(companion.path, companion.mode, _canonical(kept).decode())
    undefined = sorted(set(files) - {CREDENTIAL, *form.companions})
    warnings += [f"a file {name!r} was sent that is not defined" for name in undefined]
    claims = read_claims(shape, Reading(documents, warnings))
    return Parsed(_canonical({"v": BUNDLE_VERSION, "provider": spec.id, "files": bundle}), claims, tuple(warnings))


def open_bundle(provider: str, bundle: bytes) -> dict[str, dict[str, Any]]:
    """Return a sealed bundle's files; raises ProviderError (credential_malformed) when it is not that provider's."""
    try:
        document = read_object(bundle)
    except NotJsonError as error:
        raise ProviderError(Code.CREDENTIAL_MALFORMED, detail=f"stored bundle: {error}") from error
    if document.get("v") != BUNDLE_VERSION or document.get("provider") != provider:
        raise ProviderError(
            Code.CREDENTIAL_MALFORMED, detail=f"stored bundle: not of {provider}, or of another version"
        )
    files: dict[str, dict[str, Any]] = document["files"]
    return files


def _shape(spec: ProviderSpec, document: dict[str, Any]) -> Shape:
    """Return the form that the file has; when it has none, say what is wrong with the one that fits best."""
    best: list[str] | None = None
    for shape in spec.definition.credential.shapes:
        wrong = list(_wrong(shape.fields, document))
        if not wrong:
            return shape
        if best is None or len(wrong) < len(best):
            best = wrong
    raise ProviderError(
        Code.CREDENTIAL_INCOMPLETE,
        detail=f"{spec.id}: {spec.definition.credential.path}: " + "; ".join(best or []),
    )


def _wrong(fields: Iterable[Kept], document: dict[str, Any]) -> Iterable[str]:
    """Say why the file is not whole."""
    for field in fields:
        if field.required:
            value = find(document, split(field.path))
            fault = "is missing" if value is None else wrong_with(value, field.type, field.max)
            if fault is not None:
                yield f"{field.path} {fault}"


def _oddities(fields: Iterable[Kept], document: dict[str, Any]) -> Iterable[str]:
    """Say what of a whole file is not as the definition knows it."""
    known = {field.path for field in fields}
    for path in leaves(document):
        if path not in known and not any(name.startswith(f"{path}.") for name in known):
            yield f"{path} is new"
    for field in fields:
        value = find(document, split(field.path))
        if value is not None and not field.required:
            fault = wrong_with(value, field.type, field.max)
            if fault is not None:
                yield f"{field.path} {fault}"
        elif value is None and not field.null and not field.required and _stands(document, field.path):
            yield f"{field.path} is null"


def _stands(document: dict[str, Any], path: str) -> bool:
    *before, last = split(path)
    place = find(document, before)
    return isinstance(place, dict) and last in place


def _reduce(companion: Companion, file: CapturedFile | None, warnings: list[str]) -> dict[str, Any]:
    """Return a companion's kept values; whatever is wrong with it, the credential is none the worse."""
    if file is None:
        warnings.append(f"{companion.path}: was not sent")
        return {}
    if not file.new:
        warnings.append(f"{companion.path}: was there before the tool's start and is left out")
        return {}
    if len(file.content) > companion.max_bytes:
        warnings.append(f"{companion.path}: is larger than {companion.max_bytes} bytes and is left out")
        return {}
    try:
        document = read_object(file.content)
    except NotJsonError as error:
        warnings.append(f"{companion.path}: is left out, {error}")
        return {}
    kept: dict[str, Any] = {}
    for field in companion.keep:
        names = split(field.path)
        value = find(document, names)
        if value is None:
            if field.required:
                warnings.append(f"{companion.path}: {field.path} is missing")
        elif (fault := wrong_with(value, field.type, field.max)) is not None:
            warnings.append(f"{companion.path}: {field.path} {fault} and is left out")
        else:
            put(kept, names, value)
    return kept


def _file(path: str, mode: int, content: str) -> dict[str, Any]:
    return {"path": path, "mode": mode, "content": content}


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
