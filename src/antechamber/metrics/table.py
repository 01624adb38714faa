"""Every metric, once: the code makes it from here, the docs list it, and the files in `deploy/` are checked against it.

No label holds an id, a user, a host name or anything else that a person, a caller or a machine chooses: each has a
small number of values that the code knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What a metric is to Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Of(StrEnum):
    """What a metric speaks of, which says how those of several services are put together."""

    SERVICE = "this service"
    """What this service did or has: add them up over services."""
    DATABASE = "the database"
    """Read from the database that several services may share: take the maximum over services, never the sum."""
    HOST = "the host"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric; `name` is as Prometheus shows it, for a histogram without `_bucket`, `_sum` and `_count`."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram, in seconds."""
    of: Of = Of.SERVICE


_TO_READY: Final = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 10.0, 20.0, 40.0, 60.0)
_IN_LINE: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 180.0, 300.0, 450.0, 600.0)
_BY_A_PERSON: Final = (1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 300.0, 450.0, 600.0)
_CAPTURE: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.35, 0.5, 1.0, 2.0, 5.0)
_STOP: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0, 120.0)
_STORE: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
_LAG: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)

SESSIONS_CREATED: Final = Metric(
    "antechamber_sessions_created_total", Kind.COUNTER, "Sessions that were created here.", ("provider",)
)
SESSIONS_ENDED: Final = Metric(
    "antechamber_sessions_ended_total",
    Kind.COUNTER,
    "Sessions that this service ended, by their last status and its reason (none for completed).",
    ("provider", "status", "reason"),
)
SESSION_READY: Final = Metric(
    "antechamber_session_ready_seconds",
    Kind.HISTOGRAM,
    "From the creation of the session (Connect) until its page is painted and can be typed into.",
    ("provider",),
    _TO_READY,
)
SESSION_WAIT: Final = Metric(
    "antechamber_session_wait_seconds",
    Kind.HISTOGRAM,
    "From the creation of the session (Connect) until a node begins its machine: its time in the line.",
    ("provider",),
    _IN_LINE,
)
FIRST_SIGHT: Final = Metric(
    "antechamber_first_sight_seconds",
    Kind.HISTOGRAM,
    "From the ready page until its person sees the screen for the first time.",
    ("provider",),
    _BY_A_PERSON,
)
SIGN_IN: Final = Metric(
    "antechamber_sign_in_seconds",
    Kind.HISTOGRAM,
    "From the first sight of the screen until the credential is captured.",
    ("provider",),
    _BY_A_PERSON,
)
CAPTURE_STORED: Final = Metric(
    "antechamber_capture_stored_seconds",
    Kind.HISTOGRAM,
    "From the whole credential file (its own time, as the machine says) until it is stored.",
    ("provider",),
    _CAPTURE,
)
CAPTURE_TOLD: Final = Metric(
    "antechamber_capture_told_seconds",
    Kind.HISTOGRAM,
    "From the whole credential file until an event stream that was open then has been told of the capture.",
    (),
    _CAPTURE,
)
MACHINE_START: Final = Metric(
    "antechamber_machine_start_seconds",
    Kind.HISTOGRAM,
    "Time of each phase of a machine's start: requested (waits for its turn), booting (until its page is ready).",
    ("phase",),
    _TO_READY,
)
MACHINE_STOP: Final = Metric(
    "antechamber_machine_stop_seconds",
    Kind.HISTOGRAM,
    "From the decision to stop a machine until nothing of it runs.",
    (),
    _STOP,
)
MACHINES_ENDED: Final = Metric(
    "antechamber_machines_ended_total",
    Kind.COUNTER,
    "Machines whose end this service recorded: gone (asked to), lost (by themselves).",
    ("state",),
)
STORE_TRANSACTION: Final = Metric(
    "antechamber_store_transaction_seconds",
    Kind.HISTOGRAM,
    "Time of the database's transactions, the wait for a connection and for the lock included: read, write.",
    ("kind",),
    _STORE,
)
STORE_UNAVAILABLE: Final = Metric(
    "antechamber_store_unavailable_total",
    Kind.COUNTER,
    "Transactions that failed because the database was locked, full, broken or away.",
    ("kind",),
)
REFUSED: Final = Metric(
    "antechamber_requests_refused_total",
    Kind.COUNTER,
    "Requests that were answered with an error, by its code.",
    ("code",),
)
RELAY_BYTES: Final = Metric(
    "antechamber_relay_bytes_total",
    Kind.COUNTER,
    "Bytes of screens: to_page from the machine, to_machine from the person.",
    ("direction",),
)
EGRESS_REQUESTS: Final = Metric(
    "antechamber_egress_requests_total",
    Kind.COUNTER,
    "Names and connections that machines asked for, by what became of them.",
    ("verdict",),
)
EGRESS_BYTES: Final = Metric(
    "antechamber_egress_bytes_total",
    Kind.COUNTER,
    "Bytes between machines and the hosts that they reached: out (from the machine), in.",
    ("direction",),
)
LOOP_LAG: Final = Metric(
    "antechamber_event_loop_lag_seconds",
    Kind.HISTOGRAM,
    "How late the event loop ran a timer, looked at four times a second.",
    (),
    _LAG,
)
STREAMS_OPEN: Final = Metric("antechamber_event_streams_open", Kind.GAUGE, "Event streams that are open.")
RELAYS_OPEN: Final = Metric("antechamber_relays_open", Kind.GAUGE, "Screens that are being watched.")
ATTENDED: Final = Metric("antechamber_machines_attended", Kind.GAUGE, "Machines that this service attends now.")
PLACES: Final = Metric(
    "antechamber_machine_places", Kind.GAUGE, "The most machines that this service may have at once."
)
READY: Final = Metric("antechamber_ready", Kind.GAUGE, "1 while sign-ins can be started, as GET /readyz says; else 0.")
STORE_UP: Final = Metric("antechamber_store_up", Kind.GAUGE, "1 when the database answered this scrape; else 0.")
DRIVER_CHECK: Final = Metric(
    "antechamber_driver_check_ok",
    Kind.GAUGE,
    "1 for each of the driver's checks that was well when the service started; else 0.",
    ("check",),
)
PROVIDER_AVAILABLE: Final = Metric(
    "antechamber_provider_available",
    Kind.GAUGE,
    "1 for each provider whose tool lay as installed when the service started; else 0.",
    ("provider",),
)
BUILD: Final = Metric(
    "antechamber_build_info", Kind.GAUGE, "Always 1; the labels say what runs.", ("version", "world", "driver")
)
KEY: Final = Metric(
    "antechamber_key_info", Kind.GAUGE, "Always 1; the label is the id of the key that seals, no secret.", ("key_id",)
)
SESSIONS: Final = Metric(
    "antechamber_sessions", Kind.GAUGE, "Live sessions by status.", ("provider", "status"), of=Of.DATABASE
)
MACHINES: Final = Metric(
    "antechamber_machines", Kind.GAUGE, "Machines that have not ended, by state.", ("state",), of=Of.DATABASE
)
CREDENTIALS: Final = Metric(
    "antechamber_credentials",
    Kind.GAUGE,
    "Stored credentials by status; what needs_sign_in or revoked works again after a sign-in only.",
    ("provider", "status"),
    of=Of.DATABASE,
)
MACHINE_LONGEST: Final = Metric(
    "antechamber_machine_longest_seconds",
    Kind.GAUGE,
    "How long the machine that has been in this state longest is in it; 0 when none is.",
    ("state",),
    of=Of.DATABASE,
)
DISK_FREE: Final = Metric(
    "antechamber_disk_free_bytes",
    Kind.GAUGE,
    "Room for the service in a folder: data, machines, shared.",
    ("folder",),
    of=Of.HOST,
)
DISK_SIZE: Final = Metric(
    "antechamber_disk_size_bytes", Kind.GAUGE, "Size of the file system of a folder.", ("folder",), of=Of.HOST
)

TABLE: Final[tuple[Metric, ...]] = (
    SESSIONS_CREATED,
    SESSIONS_ENDED,
    SESSION_READY,
    SESSION_WAIT,
    FIRST_SIGHT,
    SIGN_IN,
    CAPTURE_STORED,
    CAPTURE_TOLD,
    MACHINE_START,
    MACHINE_STOP,
    MACHINES_ENDED,
    SESSIONS,
    MACHINES,
    MACHINE_LONGEST,
    CREDENTIALS,
    ATTENDED,
    PLACES,
    STREAMS_OPEN,
    RELAYS_OPEN,
    RELAY_BYTES,
    EGRESS_REQUESTS,
    EGRESS_BYTES,
    REFUSED,
    STORE_TRANSACTION,
    STORE_UNAVAILABLE,
    STORE_UP,
    LOOP_LAG,
    READY,
    DRIVER_CHECK,
    PROVIDER_AVAILABLE,
    BUILD,
    KEY,
    DISK_FREE,
    DISK_SIZE,
)
"""In the order of the docs."""
