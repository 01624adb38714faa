"""What a person is told: a sentence and the next step for every reason, and what a machine is called."""

from __future__ import annotations

from typing import Final, NamedTuple

from antechamber.model import Reason


class Told(NamedTuple):
    """A safe sentence and what to do next."""

    message: str
    next: str


_AGAIN: Final = "Start a new sign-in."
_ASK: Final = "Start a new sign-in. If it happens again, ask whoever runs this service to look at its log."

REASONS: Final[dict[Reason, Told]] = {
    Reason.CANCELLED_BY_PERSON: Told("You cancelled this sign-in. Nothing was stored.", _AGAIN),
    Reason.CANCELLED_BY_CALLER: Told(
        "The application that asked for this sign-in cancelled it. Nothing was stored.",
        "Go back to the application and start a new sign-in if you still want one.",
    ),
    Reason.SUPERSEDED: Told(
        "A newer sign-in for the same account slot replaced this one. Nothing was stored here.", "Use the newer one."
    ),
    Reason.NOBODY_CAME: Told("The browser was ready, but nobody opened it in time. Nothing was stored.", _AGAIN),
    Reason.SIGN_IN_TIMED_OUT: Told("The time for this sign-in ran out. Nothing was stored.", _AGAIN),
    Reason.MACHINE_DID_NOT_START: Told("The machine for this sign-in did not start.", _ASK),
    Reason.MACHINE_ENDED: Told("The machine for this sign-in ended before you were done. Nothing was stored.", _ASK),
    Reason.MACHINE_BROKEN: Told("The browser's machine broke down before you were done. Nothing was stored.", _ASK),
    Reason.GUEST_PROTOCOL: Told(
        "The machine behaved in a way that it must not, so it was ended. Nothing was stored.", _ASK
    ),
    Reason.GUEST_VERSION: Told(
        "The machine was of another version than the service, so it was ended. Nothing was stored.", _ASK
    ),
    Reason.SANDBOX_OFF: Told(
        "The browser in the machine ran without its own sandbox, so it was ended. Nothing was stored.",
        "Ask whoever runs this service to run `antechamber doctor`.",
    ),
    Reason.CLI_ENDED: Told("The command-line tool ended without a sign-in. Nothing was stored.", _ASK),
    Reason.CLI_NEVER_OPENED_PAGE: Told(
        "The command-line tool never opened its sign-in page. Nothing was stored.", _ASK
    ),
    Reason.CREDENTIAL_UNUSABLE: Told(
        "The command-line tool wrote a credential that cannot be used. Nothing was stored.", _ASK
    ),
    Reason.PROVIDER_UNAVAILABLE: Told(
        "The command-line tool could not be run on this server. Nothing was stored.", _ASK
    ),
}
"""Every reason of the enum; a test holds it to that."""

ISOLATION: Final = {
    "namespaces": "a sandbox of namespaces",
    "vm": "a virtual machine",
    "none": "a simulated machine",
}
"""How pages call what a driver's capabilities name; every word that `machine.Capabilities` lists."""
