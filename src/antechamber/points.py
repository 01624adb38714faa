"""Where the service can be killed at its worst: the instants between what is written and what is done about it.

`point` is called at each of them, and does nothing at all unless a test's own entry program has armed it first, in the
same interpreter: no setting, variable or message can. tests/crash kills the service at every one, and fails when one of
them is not passed any more.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Point(StrEnum):
    """The instants, in about the order of a sign-in."""

    # a service begins
    KEY_MADE = "key made"
    """The vault's key lies there, and the database does not know it yet."""
    MIGRATING = "migrating"
    """The tables are made or changed, and not committed."""
    MIGRATED = "migrated"
    NODE_JOINED = "node joined"
    ORPHAN_FOUND = "orphan found"
    """A machine that no row asks for runs, and is about to be ended."""
    ORPHAN_ENDED = "orphan ended"
    ORPHAN_REAPED = "orphan reaped"

    # any transaction
    COMMITTING = "committing"
    """Everything of a transaction is written, and nothing committed."""
    COMMITTED = "committed"
    """It is committed, and nobody was told."""

    # a session is asked for and opened
    SESSION_CREATED = "session created"
    """A session and its machine are requested, and there is no link yet."""
    LINK_GRANTED = "link granted"
    LINK_OPENED = "link opened"
    """The link is spent, and its browser has no cookie yet."""
    CHALLENGE_GIVEN = "challenge given"
    """A browser is to be sent to the application, and does not know it yet."""
    BOUND = "bound"
    """The owner was named, and the application has no way back for the browser."""
    LET_IN = "let in"
    """The way back is spent, and its browser has no cookie yet."""

    # its machine is started
    CLAIMED = "claimed"
    BOOTING_WRITTEN = "booting written"
    """The handle is stored, and nothing of the machine exists."""
    FOLDER_HALF_MADE = "folder half made"
    FOLDER_MADE = "folder made"
    DOORS_OPEN = "doors open"
    KEEPER_STARTED = "keeper started"
    """Keeper and machine run, and this service has not claimed them yet."""
    MACHINE_STARTED = "machine started"
    SESSION_STARTING = "session starting"
    DOORS_SERVED = "doors served"
    MACHINE_READY = "machine ready"
    """The machine's row says ready, and its session's does not yet."""
    SESSION_READY = "session ready"
    START_REFUSED = "start refused"
    """The session was told that its machine did not start, and the machine's row was not yet."""

    # its person comes
    TICKET_GRANTED = "ticket granted"
    TICKET_REDEEMED = "ticket redeemed"
    SCREEN_SEEN = "screen seen"
    AGAIN_WRITTEN = "again written"
    """The next run of the tool is in the row, and the guest was not told yet."""
    AGAIN_TOLD = "again told"

    # the guest reports
    REPORT_RECEIVED = "report received"
    SEALED = "sealed"
    """The credential is sealed, and stored nowhere."""
    CAPTURED = "captured"
    """Credential and session are committed, and the guest does not know."""
    REPORT_TAKEN = "report taken"
    """What a report says is committed, and it is not acknowledged."""
    ACKNOWLEDGED = "acknowledged"

    # a tool is run with what was stored
    RUN_CREATED = "run created"
    """The run is in the row, waiting or with its lease and machine, and whoever asked does not know."""
    RUN_BEGUN = "run begun"
    RENEWAL_WRITTEN = "renewal written"
    """It is written that the tool may be renewing its credential, and nothing has gone to the vendor."""
    WRITTEN_BACK = "written back"
    """The new version is stored, and the guest does not know."""
    RUN_EXITED = "run exited"
    """Run and lease are over, and the guest does not know."""
    RUN_MOVED = "run moved"

    # its end
    CANCELLED = "cancelled"
    TIMING_OUT = "timing out"
    """The guest was asked once more, and the bad end is not written."""
    TIMED_OUT = "timed out"
    REJECTED = "rejected"
    DELETED = "deleted"
    WINDING_DOWN = "winding down"
    WOUND_DOWN = "wound down"
    STOP_WRITTEN = "stop written"
    MACHINE_STOPPED = "machine stopped"
    """Nothing of the machine runs, and its row says stopping."""
    END_WRITTEN = "end written"
    """Machine and session know of the end, and its folder is still there."""
    FOLDER_HIDDEN = "folder hidden"
    """The folder of an ended machine is half removed."""
    REAPED = "reaped"


_armed: Callable[[Point], None] | None = None


def point(passed: Point) -> None:
    """Say that this instant has come."""
    if _armed is not None:
        _armed(passed)


def arm(reached: Callable[[Point], None]) -> None:
    """Have every point call that, in whatever thread it is passed; for a test's entry program, before it serves."""
    global _armed  # noqa: PLW0603 - read at each point, and written once by a test's own program
    _armed = reached
