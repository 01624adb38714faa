"""Values in JSON documents by dotted paths, and their types."""

from __future__ import annotations

import json
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

_LONGEST_LIST: Final = 100


class ValueType(StrEnum):
    """What a kept value may be."""

    STRING = "string"
    """Text that is not empty."""
    NUMBER = "number"
    BOOLEAN = "boolean"
    STRINGS = "strings"
    """A list of texts."""
    TIMESTAMP = "timestamp"
    """Text in ISO 8601."""


class NotJsonError(ValueError):
    """The bytes are not one JSON object; the text says why, without quoting them."""


def split(path: str) -> list[str]:
    """Return the names of a dotted path; raises ValueError for a path with an empty name."""
    names = path.split(".")
    if not all(names):
        raise ValueError("must be names joined by dots")
    return names


def read_object(content: bytes) -> dict[str, Any]:
    """Read one JSON object strictly: UTF-8, no name twice, no NaN; raises NotJsonError."""
    try:
        document = json.loads(content.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except NotJsonError:
        raise
    except UnicodeDecodeError as error:
        raise NotJsonError("it is not UTF-8") from error
    except json.JSONDecodeError as error:
        # the error's own text is left out: some parsers quote what they could not read
        raise NotJsonError(f"it is not JSON from character {error.pos} of {len(content)} on") from None
    except (ValueError, RecursionError) as error:
        raise NotJsonError(f"it cannot be read ({type(error).__name__})") from None
    if not isinstance(document, dict):
        raise NotJsonError("it is JSON, but not an object")
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotJsonError("a name stands twice in one object")
    return found


def _no_constant(word: str) -> Any:
    raise NotJsonError(f"{word} is not JSON")


def find(document: Any, names: list[str]) -> Any:
    """Return the value at a path, or None where there is none."""
    for name in names:
        if not isinstance(document, dict) or name not in document:
            return None
        document = document[name]
    return document


def put(document: dict[str, Any], names: list[str], value: Any) -> None:
    """Set the value at a path, making the objects that lead to it."""
    for name in names[:-1]:
        document = document.setdefault(name, {})
    document[names[-1]] = value


def leaves(document: dict[str, Any], before: str = "") -> list[str]:
    """Return the dotted path of every value that is not itself an object with members, at most 200."""
    found: list[str] = []
    waiting = [(before, document)]
    while waiting and len(found) < 200:
        prefix, current = waiting.pop()
        for name, value in current.items():
            path = f"{prefix}.{name}" if prefix else name
            if isinstance(value, dict) and value:
                waiting.append((path, value))
            else:
                found.append(path)
    return sorted(found)


def merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Return both objects in one; where both have a value, that of `over`."""
    merged = dict(under)
    for name, value in over.items():
        below = merged.get(name)
        merged[name] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def all_unicode(document: dict[str, Any]) -> bool:
    r"""Tell whether every name and text of a document can be encoded: JSON can say half a character, as `\ud800`."""
    waiting: list[Any] = [document]
    while waiting:
        value = waiting.pop()
        match value:
            case str() if not _is_unicode(value):
                return False
            case dict():
                waiting += [*value, *value.values()]
            case list():
                waiting += value
    return True


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def wrong_with(value: Any, kind: ValueType, longest: int) -> str | None:
    """Say what is wrong with a value of that type, never quoting it; None when nothing is."""
    match kind:
        case ValueType.STRING:
            return _wrong_text(value, longest)
        case ValueType.TIMESTAMP:
            return _wrong_text(value, longest) or _wrong_timestamp(value)
        case ValueType.BOOLEAN:
            return None if isinstance(value, bool) else "is not true or false"
        case ValueType.NUMBER:
            return None if isinstance(value, int | float) and not isinstance(value, bool) else "is not a number"
        case ValueType.STRINGS:
            return _wrong_list(value, longest)


def _wrong_text(value: Any, longest: int) -> str | None:
    if not isinstance(value, str) or not value:
        return "is not a text"
    if len(value) > longest:
        return f"is longer than {longest} characters"
    return None if _is_unicode(value) else "is not Unicode"


def _wrong_list(value: Any, longest: int) -> str | None:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        return "is not a list of texts"
    if len(value) > _LONGEST_LIST:
        return f"has more than {_LONGEST_LIST} texts"
    if any(len(item) > longest for item in value):
        return f"has a text longer than {longest} characters"
    return None if all(map(_is_unicode, value)) else "has a text that is not Unicode"


def _wrong_timestamp(value: str) -> str | None:
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return "is not a time in ISO 8601"
    return None
