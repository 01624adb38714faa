"""Every text that a person reads, by language: one file a language, and what it lacks is said in English.

`en.toml` has the English of the pages, of the reasons and of what a machine is. The English of errors stands beside
their codes (`errors.CATALOGUE`), that of a provider's notices in its definition. A translation is one file with all of
them; `whole` gives its pattern.
"""

from __future__ import annotations

import contextlib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from antechamber.errors import CATALOGUE, AntechamberError, Code, OperatorError
from antechamber.model import Reason
from antechamber.ownership import others_may_write

ENGLISH: Final = "en"
_HERE: Final = Path(__file__).parent
_TAG: Final = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8})*")
_PLACE: Final = re.compile(r"\{(\w+)\}")
_WANTED: Final = re.compile(r"\s*([A-Za-z*][A-Za-z0-9-]*)\s*(?:;\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*)?")
_LONGEST_HEADER: Final = 500

Branch = Mapping[str, Any]


class Told(NamedTuple):
    """A safe sentence and what to do next."""

    message: str
    next: str


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of one language; whatever it lacks is there in English."""

    language: str
    direction: str
    """`ltr` or `rtl`."""
    pages: Branch
    """What the pages say, by dotted name in nested tables."""
    reasons: Mapping[Reason, Told]
    isolation: Mapping[str, str]
    """What a machine is, by the driver's word for what keeps it apart."""
    errors: Mapping[Code, Told] = field(default_factory=dict)
    providers: Mapping[str, Branch] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    """What is missing in the language's file or wrong with it, a sentence each."""

    def error(self, error: AntechamberError) -> Told:
        """Return what an error says: a sentence made for the occasion stays as it is."""
        told, meaning = self.errors.get(error.code), CATALOGUE[error.code]
        if told is None:
            return Told(error.message, error.next)
        return Told(
            told.message if error.message == meaning.message else error.message,
            told.next if error.next == meaning.next else error.next,
        )

    def of_provider(self, provider: str, name: str, english: Sequence[str]) -> list[str]:
        """Return a provider's `notices` or `captures`, in English where the file has not as many of them."""
        found = self.providers.get(provider, {}).get(name)
        if not isinstance(found, list) or len(found) != len(english):
            return list(english)
        return [str(one) for one in found] if all(isinstance(one, str) for one in found) else list(english)


@cache
def english() -> Texts:
    """Return the English texts."""
    table = _read(_HERE / f"{ENGLISH}.toml")
    return Texts(
        language=ENGLISH,
        direction=table["direction"],
        pages=table["pages"],
        reasons={reason: Told(**table["reasons"][reason]) for reason in Reason},
        isolation=table["isolation"],
    )


_SPEAKING: ContextVar[Texts | None] = ContextVar("speaking", default=None)


def speaking() -> Texts:
    """Return the texts of whoever is being answered: English outside a request."""
    return _SPEAKING.get() or english()


@contextlib.contextmanager
def speak(texts: Texts) -> Iterator[None]:
    """Answer in that language as long as the block runs."""
    token = _SPEAKING.set(texts)
    try:
        yield
    finally:
        _SPEAKING.reset(token)


class Languages:
    """The languages that there are, and which of them is whose."""

    def __init__(self, texts: Sequence[Texts], fixed: str | None = None) -> None:
        """Offer these; `fixed` is spoken with everybody."""
        self.texts: Final = {one.language: one for one in texts}
        self._fixed = fixed

    @classmethod
    def load(cls, folder: Path | None = None, fixed: str | None = None) -> Languages:
        """Read the package's languages and those of a folder; OperatorError misconfigured where that cannot be."""
        files = {path.stem: path for path in sorted(_HERE.glob("*.toml"))}
        if folder is not None:
            own = {path.stem: path for path in sorted(folder.glob("*.toml"))}
            if not own:
                raise _misconfigured(f"The folder of texts {folder} holds none: no file in it ends in .toml.")
            if ENGLISH in own:
                # what any language lacks is said in it, so it has to be whole
                raise _misconfigured(f"The texts {own[ENGLISH]} are English, which is the package's own.")
            if faults := others_may_write(folder, *own.values()):
                # the sentence to which a person agrees is among them
                raise _misconfigured(f"The texts are not the operator's alone: {'; '.join(faults)}.")
            files |= own
        odd = [tag for tag in files if not _TAG.fullmatch(tag)]
        if odd:
            raise _misconfigured(f"These files of texts are not named by a language tag: {', '.join(odd)}.")
        if fixed is not None and fixed not in files:
            raise _misconfigured(f"There are no texts in the language {fixed}; there are {', '.join(files)}.")
        return cls([english() if tag == ENGLISH else _translated(tag, path) for tag, path in files.items()], fixed)

    def choose(self, accepted: str | None) -> Texts:
        """Return the texts for what a browser accepts (RFC 9110, 12.5.4); English when there is nothing it wants."""
        if self._fixed is not None:
            return self.texts[self._fixed]
        known = {tag.lower(): texts for tag, texts in self.texts.items()}
        for wanted in _by_weight(accepted or ""):
            for tag in (wanted, wanted.partition("-")[0]):
                if tag in known:
                    return known[tag]
        return known.get(ENGLISH) or english()

    def faults(self) -> list[str]:
        """Return what is missing or wrong in any language, a sentence each."""
        return [fault for texts in self.texts.values() for fault in texts.faults]


def _by_weight(header: str) -> list[str]:
    wanted = [match for part in header[:_LONGEST_HEADER].split(",") if (match := _WANTED.fullmatch(part))]
    weighed = [(float(match[2] or 1), match[1].lower()) for match in wanted]
    return [tag for weight, tag in sorted(weighed, key=lambda pair: -pair[0]) if weight > 0]


def leaves(branch: Branch, path: str = "") -> dict[str, str]:
    """Return the texts of nested tables by their dotted names."""
    found: dict[str, str] = {}
    for key, value in branch.items():
        name = f"{path}.{key}" if path else key
        found |= leaves(value, name) if isinstance(value, Mapping) else {name: value}
    return found


def whole(providers: Mapping[str, Branch]) -> dict[str, Any]:
    """Return the pattern of a translation: everything that there is to translate, in English.

    `providers` has the `notices` and `captures` of each provider id.
    """
    texts = english()
    return {
        "name": "English",
        "direction": texts.direction,
        "pages": texts.pages,
        "reasons": {str(reason): told._asdict() for reason, told in texts.reasons.items()},
        "errors": {str(code): {"message": said.message, "next": said.next} for code, said in CATALOGUE.items()},
        "isolation": texts.isolation,
        "providers": providers,
    }


def as_toml(table: Branch, path: str = "") -> str:
    """Write nested tables of texts as TOML."""
    own = [(key, value) for key, value in table.items() if not isinstance(value, Mapping)]
    lines = [f"[{path}]"] if path and own else []
    # JSON's strings and lists of strings are TOML's too
    lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in own]
    parts = ["\n".join(lines) + "\n"] if lines else []
    nested = [(f"{path}.{key}" if path else key, value) for key, value in table.items() if isinstance(value, Mapping)]
    return "\n".join([*parts, *(as_toml(value, name) for name, value in nested)])


def _translated(tag: str, path: Path) -> Texts:
    base, table = english(), _read(path)
    faults: list[str] = []

    def fill(found: object, wanted: Branch, where: str) -> dict[str, Any]:
        given: Branch = found if isinstance(found, Mapping) else {}
        unknown = [key for key in given if key not in wanted]
        faults.extend(f"{tag}: there is no text {where}.{key}" for key in unknown)
        filled: dict[str, Any] = {}
        for key, text in wanted.items():
            if isinstance(text, Mapping):
                filled[key] = fill(given.get(key), text, f"{where}.{key}")
                continue
            own = given.get(key)
            if not isinstance(own, str) or not own.strip():
                faults.append(f"{tag}: {where}.{key} is missing, so it is said in English")
            elif set(_PLACE.findall(own)) != set(_PLACE.findall(text)):
                places = " ".join(f"{{{place}}}" for place in _PLACE.findall(text)) or "none"
                faults.append(f"{tag}: the places of {where}.{key} must be {places}, so it is said in English")
            else:
                filled[key] = own
                continue
            filled[key] = text
        return filled

    pattern = whole({})
    reasons = fill(table.get("reasons"), pattern["reasons"], "reasons")
    errors = fill(table.get("errors"), pattern["errors"], "errors")
    direction = table.get("direction", base.direction)
    if direction not in {"ltr", "rtl"}:
        raise _misconfigured(f"In the texts {path}: `direction` is ltr or rtl.")
    return Texts(
        language=tag,
        direction=direction,
        pages=fill(table.get("pages"), base.pages, "pages"),
        reasons={reason: Told(**reasons[reason]) for reason in Reason},
        isolation=fill(table.get("isolation"), base.isolation, "isolation"),
        errors={code: Told(**errors[code]) for code in Code},
        providers=table.get("providers", {}),
        faults=tuple(faults),
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _misconfigured(f"The texts {path} cannot be read: {error}.") from error


def _misconfigured(message: str) -> OperatorError:
    return OperatorError(Code.MISCONFIGURED, message=message, next_step="Correct it; see docs/how-to/translate.md.")
