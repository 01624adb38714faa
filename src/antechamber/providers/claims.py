"""What a credential says about itself: account, plan, expiry. Claims only: shown and compared, never trusted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import jwt

from antechamber.model import Claims
from antechamber.providers.definition import Source
from antechamber.providers.paths import find, split

if TYPE_CHECKING:
    from collections.abc import Sequence

    from antechamber.providers.definition import Shape

_LONGEST_ACCOUNT: Final = 254  # characters: an e-mail address
_LONGEST_PLAN: Final = 40
_EARLIEST: Final = datetime(2015, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)
"""An end outside of these is none: most likely the vendor changed from seconds to milliseconds, or back."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The documents that claims are read from, and where oddities are noted."""

    documents: dict[str, dict[str, Any]]
    warnings: list[str]

    def value(self, source: Source) -> Any:
        """Return the value that a source names, or None."""
        value = find(self.documents.get(source.file, {}), split(source.path))
        if value is None or not source.jwt:
            return value
        return find(self._token(source, value), source.jwt)

    def _token(self, source: Source, value: Any) -> Any:
        try:
            # Not verified, and nothing depends on it: the vendor's key is not ours to have, and claims only label
            return jwt.decode(value, options={"verify_signature": False})
        except (jwt.PyJWTError, TypeError, ValueError, RecursionError):
            self.warnings.append(f"{source.file}: {source.path} is not a JWT")
            return None


def read_claims(shape: Shape, reading: Reading) -> Claims:
    """Return what the files claim; a claim that is not there or not sensible is None."""
    expires_at = _time(shape.expires, reading)
    renewable = shape.renewed_by is not None and bool(reading.value(Source(path=shape.renewed_by)))
    return Claims(
        account=_text(shape.account, reading, _LONGEST_ACCOUNT),
        plan=_text(shape.plan, reading, _LONGEST_PLAN),
        expires_at=expires_at,
        renewable=renewable,
        ends_at=_end(expires_at, _time(shape.renewal_expires, reading)) if renewable else expires_at,
    )


def _end(expires_at: datetime | None, renewal_ends_at: datetime | None) -> datetime | None:
    """Return until when a credential that renews itself lasts; None where it does not say when that stops."""
    if renewal_ends_at is None:
        return None
    return max(renewal_ends_at, expires_at) if expires_at else renewal_ends_at


def _text(sources: Sequence[Source], reading: Reading, longest: int) -> str | None:
    for source in sources:
        value = reading.value(source)
        if value is None:
            continue
        # isprintable: no control, format (bidi among them) or private characters, no line ends
        if isinstance(value, str) and 0 < len(value.strip()) <= longest and value.isprintable():
            return value.strip()
        reading.warnings.append(f"{source.file}: {source.path} is no text that can be shown")
    return None


def _time(sources: Sequence[Source], reading: Reading) -> datetime | None:
    for source in sources:
        value = reading.value(source)
        if value is None:
            continue
        try:
            return _sensible(_moment(value, source.unit))
        except (ValueError, TypeError, OverflowError, OSError):
            reading.warnings.append(f"{source.file}: {source.path} is no time")
    return None


def _sensible(moment: datetime) -> datetime:
    if not _EARLIEST < moment < _LATEST:
        raise ValueError("too far away")
    return moment


def _moment(value: Any, unit: str) -> datetime:
    if unit == "iso":
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError("a time without a zone")
        return moment.astimezone(UTC)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("not a number")
    return datetime.fromtimestamp(value / 1000 if unit == "ms" else value, UTC)
