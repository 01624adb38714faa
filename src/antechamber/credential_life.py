"""A credential's life as a total table: what each fact does to its status, apart from any session's.

Pure, as `lifecycle`: a *fact* comes in, `decide_credential` says whether it *moves* the status, is only *noted* or is
*refused*. What a status says is only as good as its fact: an expiry is a claim of the captured file, a check is the
tool's own word without a network, and what a person or a program says is taken as said.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from antechamber.errors import Code
from antechamber.lifecycle import Act, arrows
from antechamber.model import CredentialReason, CredentialStatus

if TYPE_CHECKING:
    from datetime import datetime


class CredentialFact(StrEnum):
    """What can happen to a credential."""

    CAPTURED = "captured"
    """A sign-in stored a version of it."""
    EXPIRY_NEAR = "expiry_near"
    """What it claims to last until comes near, and nothing in it can renew it."""
    EXPIRED = "expired"
    """What it claims to last until has passed, and nothing in it can renew it."""
    CHECK_ACCEPTED = "check_accepted"
    """The tool itself took it in the offline check."""
    CHECK_REFUSED = "check_refused"
    """The tool itself did not take it in the offline check."""
    VENDOR_REFUSED = "vendor_refused"
    """Whoever uses it says that the vendor refused it."""
    SAID_REVOKED = "said_revoked"
    """Somebody says that they ended the sign-in at the vendor."""
    REFRESHED = "refreshed"
    """A run's tool renewed it, and the new version is stored."""
    CUT_SHORT = "cut_short"
    """A run's machine ended while its tool may have been renewing it, and nothing came of that."""
    DELETED = "deleted"
    REJECTED = "rejected"
    """Its person said that the account is not theirs."""


@dataclass(frozen=True, slots=True)
class CredentialRule:
    """One cell of the table."""

    act: Act
    to: CredentialStatus | None = None
    reason: CredentialReason | None = None
    """Why it is in the state that it moves to."""
    takes_back: CredentialReason | None = None
    """The move is made only where the present status has this reason; else the fact is noted."""
    error: Code | None = None
    """What the sender of a refused fact is told."""


@dataclass(frozen=True, slots=True)
class CredentialDecision:
    """What a fact does to a credential."""

    act: Act
    before: CredentialStatus
    after: CredentialStatus
    reason: CredentialReason | None
    error: Code | None


CS, CF, R = CredentialStatus, CredentialFact, CredentialReason


def _move(to: CredentialStatus, reason: CredentialReason) -> CredentialRule:
    return CredentialRule(Act.MOVE, to, reason)


_NOTE: Final = CredentialRule(Act.NOTE)
_GONE: Final = CredentialRule(Act.REFUSE, error=Code.CREDENTIAL_NOT_FOUND)
_NEW_VERSION: Final = _move(CS.ACTIVE, R.SIGNED_IN)
_LIVE: Final[dict[CredentialFact, CredentialRule]] = {
    # from `active` to `active` too: with a new version the time of its status begins anew
    CF.CAPTURED: _NEW_VERSION,
    CF.REFRESHED: _move(CS.ACTIVE, R.REFRESHED),
    CF.DELETED: _move(CS.DELETED, R.DELETED),
    CF.REJECTED: _move(CS.DELETED, R.REJECTED),
}

CREDENTIAL_TABLE: Final[dict[CredentialStatus, dict[CredentialFact, CredentialRule]]] = {
    CS.ACTIVE: {
        **_LIVE,
        CF.EXPIRY_NEAR: _move(CS.EXPIRING, R.EXPIRY_NEAR),
        CF.EXPIRED: _move(CS.NEEDS_SIGN_IN, R.EXPIRED),
        CF.CHECK_ACCEPTED: _NOTE,
        CF.CHECK_REFUSED: _move(CS.NEEDS_SIGN_IN, R.CHECK_REFUSED),
        CF.VENDOR_REFUSED: _move(CS.NEEDS_SIGN_IN, R.VENDOR_REFUSED),
        CF.SAID_REVOKED: _move(CS.REVOKED, R.SAID_REVOKED),
        CF.CUT_SHORT: _move(CS.NEEDS_SIGN_IN, R.CUT_SHORT),
    },
    CS.EXPIRING: {
        **_LIVE,
        CF.EXPIRY_NEAR: _NOTE,
        CF.EXPIRED: _move(CS.NEEDS_SIGN_IN, R.EXPIRED),
        CF.CHECK_ACCEPTED: _NOTE,
        CF.CHECK_REFUSED: _move(CS.NEEDS_SIGN_IN, R.CHECK_REFUSED),
        CF.VENDOR_REFUSED: _move(CS.NEEDS_SIGN_IN, R.VENDOR_REFUSED),
        CF.SAID_REVOKED: _move(CS.REVOKED, R.SAID_REVOKED),
        CF.CUT_SHORT: _move(CS.NEEDS_SIGN_IN, R.CUT_SHORT),
    },
    CS.NEEDS_SIGN_IN: {
        **_LIVE,
        CF.EXPIRY_NEAR: _NOTE,
        CF.EXPIRED: _NOTE,
        # an offline yes says nothing about an end that has passed, nor about what the vendor refused
        CF.CHECK_ACCEPTED: CredentialRule(Act.MOVE, CS.ACTIVE, R.CHECK_ACCEPTED, takes_back=R.CHECK_REFUSED),
        CF.CHECK_REFUSED: _NOTE,
        CF.VENDOR_REFUSED: _NOTE,
        CF.SAID_REVOKED: _move(CS.REVOKED, R.SAID_REVOKED),
        CF.CUT_SHORT: _NOTE,
    },
    CS.REVOKED: {
        **_LIVE,
        # only a sign-in makes it work again, whatever a tool that was running then has written
        CF.REFRESHED: CredentialRule(Act.REFUSE, error=Code.WRITE_BACK_REFUSED),
        CF.EXPIRY_NEAR: _NOTE,
        CF.EXPIRED: _NOTE,
        CF.CHECK_ACCEPTED: _NOTE,
        CF.CHECK_REFUSED: _NOTE,
        CF.VENDOR_REFUSED: _NOTE,
        CF.SAID_REVOKED: _NOTE,
        CF.CUT_SHORT: _NOTE,
    },
    CS.DELETED: {
        # a sign-in after a deletion makes a credential of its own
        CF.CAPTURED: _GONE,
        CF.REFRESHED: _GONE,
        CF.CUT_SHORT: _NOTE,
        CF.EXPIRY_NEAR: _NOTE,
        CF.EXPIRED: _NOTE,
        CF.CHECK_ACCEPTED: _NOTE,
        CF.CHECK_REFUSED: _NOTE,
        CF.VENDOR_REFUSED: _GONE,
        CF.SAID_REVOKED: _GONE,
        CF.DELETED: _NOTE,
        CF.REJECTED: _NOTE,
    },
}

REASONS: Final[dict[CredentialStatus, frozenset[CredentialReason]]] = {
    status: frozenset(
        rule.reason
        for facts in CREDENTIAL_TABLE.values()
        for rule in facts.values()
        if rule.to is status and rule.reason is not None
    )
    for status in CredentialStatus
}
"""The reasons that each status can have."""


def decide_credential(
    status: CredentialStatus, fact: CredentialFact, reason: CredentialReason | None = None
) -> CredentialDecision:
    """Say what the fact does to a credential that is in that status for that reason."""
    rule = CREDENTIAL_TABLE[status][fact]
    if rule.act is not Act.MOVE or rule.to is None:
        return CredentialDecision(rule.act, status, status, None, rule.error)
    if rule.takes_back is not None and rule.takes_back is not reason:
        return CredentialDecision(Act.NOTE, status, status, None, None)
    return CredentialDecision(Act.MOVE, status, rule.to, rule.reason, None)


def fact_of_time(ends_at: datetime | None, at: datetime, near: timedelta) -> CredentialFact | None:
    """Return what the time says of a credential that claims to last until then; None where it says nothing."""
    if ends_at is None or at < ends_at - near:
        return None
    return CF.EXPIRED if at >= ends_at else CF.EXPIRY_NEAR


def diagram() -> str:
    """Return the life of a credential as a Mermaid diagram in Markdown, made from the table."""
    lines = ["```mermaid", "stateDiagram-v2", "    direction LR", "    [*] --> active"]
    for status, facts in CREDENTIAL_TABLE.items():
        lines += arrows(str(status), [(str(rule.to), str(fact)) for fact, rule in facts.items() if rule.to])
    return "\n".join([*lines, "    deleted --> [*]", "```", ""])


def same_account(one: str | None, other: str | None) -> bool | None:
    """Tell whether two claimed accounts are one; None where either is not known.

    Claims only, so this prevents mistakes and authorises nothing. Upper and lower case make no other account.
    """
    if one is None or other is None:
        return None
    return one.strip().casefold() == other.strip().casefold()
