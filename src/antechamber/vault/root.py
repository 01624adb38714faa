"""The seam between the vault and where its keys are: a `Root` has them, a `Keyring` is what one look at it found.

A root wraps small data keys and never sees a credential. What differs between roots (who may add a key, whether it can
be away, whether every service has the same keys) is said by the root itself.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Protocol

from antechamber.errors import CallerError, Code, OperatorError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Keyring(Protocol):
    """What one look at a root found: never changed, so that nobody sees half of a change."""

    @property
    def ids(self) -> Sequence[str]:
        """The ids of its keys, in the order in which they were added."""

    @property
    def preferred(self) -> str:
        """The one that seals where no database names one yet."""

    def wrap(self, key_id: str, data_key: bytes, bound_to: bytes) -> bytes:
        """Wrap a data key with that key, bound to those bytes; raises OperatorError root_unavailable."""

    def unwrap(self, key_id: str, wrapped: bytes, bound_to: bytes) -> bytes:
        """Return what that key has wrapped, bound to exactly those bytes.

        Raises VaultError open_failed for anything else, and OperatorError root_unavailable where nobody can tell.
        """


class Root(Protocol):
    """Where keys are that wrap data keys."""

    kind: str
    """The word for it in ANTECHAMBER_ROOTS."""

    place: str
    """Where it is, for the operator; holds no secret."""

    elsewhere: bool
    """Whether it is asked over a network, and so can be away."""

    shared: bool
    """Whether every service on the database has its keys, without anybody carrying them there."""

    def look(self, *, make: bool = False) -> Keyring:
        """Look again which keys there are; with `make`, make the first where there is none and the root can do that.

        Raises OperatorError: key_missing where it has none, root_unavailable, and what else is wrong with it.
        """

    def add(self, *, first: bool) -> str:
        """Add a key and return its id; `first` says that the root is known to have none.

        Raises CallerError keys_elsewhere where that is not for the service to do.
        """

    def remove(self, key_id: str) -> None:
        """Take a key out; raises CallerError keys_elsewhere where that is not for the service to do."""


def digest_of(bound_to: bytes) -> str:
    """Return what a root elsewhere is told of an identity: what a user is called need not be known or logged there."""
    return base64.b64encode(hashlib.sha256(bound_to).digest()).decode("ascii")


def unavailable(place: str, detail: str) -> OperatorError:
    """Return the error of a root that does not answer, or not as it must; it is worth to try again."""
    return OperatorError(Code.ROOT_UNAVAILABLE, detail=f"{place}: {detail}")


def not_here(message: str, next_step: str) -> CallerError:
    """Return the refusal to change keys that the service may not change, with what the operator does instead."""
    return CallerError(Code.KEYS_ELSEWHERE, message=message, next_step=next_step)
