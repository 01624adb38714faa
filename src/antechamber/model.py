"""The words and rows of Antechamber: enums, ids, and the frozen records that the store returns.

Nothing here reads a clock, sleeps or touches a file. Timestamps are aware and in UTC; durations are timedeltas.
"""

from __future__ import annotations

import re
import secrets
import unicodedata
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, datetime

DEFAULT_APPLICATION: Final = "default"
"""The application of whom the operator names by the operator token or the dashboard: it has no keys."""


class SessionStatus(StrEnum):
    """Where one sign-in is."""

    PENDING = "pending"
    STARTING = "starting"
    AWAITING_SIGN_IN = "awaiting_sign_in"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def terminal(self) -> bool:
        """Whether the status never changes again."""
        return self in TERMINAL_STATUSES


TERMINAL_STATUSES: Final = frozenset(
    {SessionStatus.COMPLETED, SessionStatus.FAILED, SessionStatus.CANCELLED, SessionStatus.EXPIRED}
)
LIVE_STATUSES: Final = frozenset(SessionStatus) - TERMINAL_STATUSES


class MachineState(StrEnum):
    """Where one machine is; `lost` means that it ended without being asked."""

    REQUESTED = "requested"
    BOOTING = "booting"
    READY = "ready"
    STOPPING = "stopping"
    GONE = "gone"
    LOST = "lost"

    @property
    def ended(self) -> bool:
        """Whether nothing of the machine runs any more."""
        return self in {MachineState.GONE, MachineState.LOST}


class Reason(StrEnum):
    """Why a session ended other than completed."""

    CANCELLED_BY_PERSON = "cancelled_by_person"
    CANCELLED_BY_CALLER = "cancelled_by_caller"
    SUPERSEDED = "superseded"
    NO_MACHINE_FREE = "no_machine_free"
    """All machines were in use, or none could be started, for as long as a session waits."""
    NOBODY_CAME = "nobody_came"
    SIGN_IN_TIMED_OUT = "sign_in_timed_out"
    MACHINE_DID_NOT_START = "machine_did_not_start"
    MACHINE_ENDED = "machine_ended"
    MACHINE_BROKEN = "machine_broken"
    """Its screen, browser or agent failed, or a report of its that is no credential could not be taken."""
    GUEST_PROTOCOL = "guest_protocol"
    GUEST_VERSION = "guest_version"
    SANDBOX_OFF = "sandbox_off"
    CLI_ENDED = "cli_ended"
    CLI_NEVER_OPENED_PAGE = "cli_never_opened_page"
    CREDENTIAL_UNUSABLE = "credential_unusable"
    OTHER_ACCOUNT = "other_account"
    """The credential names another account than the stored one, and nobody had said that it may replace it."""
    PROVIDER_UNAVAILABLE = "provider_unavailable"


class CredentialStatus(StrEnum):
    """Whether a stored credential is thought to work; apart from any session's status."""

    ACTIVE = "active"
    EXPIRING = "expiring"
    """What it claims to last until comes near, and nothing in it can renew it."""
    NEEDS_SIGN_IN = "needs_sign_in"
    REVOKED = "revoked"
    DELETED = "deleted"
    """A tombstone's."""


class CredentialReason(StrEnum):
    """Why a credential has its status."""

    SIGNED_IN = "signed_in"
    CHECK_ACCEPTED = "check_accepted"
    EXPIRY_NEAR = "expiry_near"
    EXPIRED = "expired"
    CHECK_REFUSED = "check_refused"
    VENDOR_REFUSED = "vendor_refused"
    SAID_REVOKED = "said_revoked"
    DELETED = "deleted"
    REJECTED = "rejected"
    REFRESHED = "refreshed"
    """The tool renewed it in a run, and what it wrote is stored."""
    CUT_SHORT = "cut_short"
    """A run ended in the middle of a renewal: the vendor may have used up what is stored."""


class MachineKind(StrEnum):
    """What a machine is for."""

    SIGN_IN = "sign_in"
    CHECK = "check"
    RUN = "run"


class RunStatus(StrEnum):
    """Where one run of a tool with a stored credential is."""

    WAITING = "waiting"
    """Another run has the credential."""
    STARTING = "starting"
    RUNNING = "running"
    ENDED = "ended"


class RunReason(StrEnum):
    """Why a run has ended."""

    EXITED = "exited"
    """The tool ended by itself; with its exit code."""
    CANCELLED = "cancelled"
    CALLER_GONE = "caller_gone"
    """Whoever was to read it went away."""
    NO_TURN = "no_turn"
    """Other runs had the credential for as long as a run waits."""
    TIMED_OUT = "timed_out"
    DID_NOT_START = "did_not_start"
    MACHINE_ENDED = "machine_ended"
    MACHINE_BROKEN = "machine_broken"
    CREDENTIAL_GONE = "credential_gone"
    """The credential was deleted meanwhile."""


class AccessKind(StrEnum):
    """What a hashed secret gives a right to."""

    LINK = "link"
    BINDING_COOKIE = "binding_cookie"
    """Of the browser that opened the link of an application's session: it opens nothing but the way to be bound."""
    CHALLENGE = "challenge"
    """With it the application says who sits at that browser."""
    RETURN = "return"
    """What the browser that was bound comes back with."""
    SESSION_COOKIE = "session_cookie"
    TICKET = "ticket"
    RUN_TICKET = "run_ticket"
    """To a run's terminal: which run's is part of what is hashed."""
    DASHBOARD_LINK = "dashboard_link"
    DASHBOARD_COOKIE = "dashboard_cookie"
    LOGIN = "login"
    """Of an operator's login that has ended: it gives no right, and serves no second time."""


class Actor(StrEnum):
    """Who did what the audit tells of, or tried to."""

    PERSON = "person"
    """Whoever held the session's own browser."""
    OPERATOR_TOKEN = "operator_token"  # noqa: S105 - what it is called, not what it is
    DASHBOARD = "dashboard"
    COMMAND_LINE = "command_line"
    APPLICATION = "application"
    """One of an application's keys."""
    SERVICE = "service"
    """The service by itself, as its settings say."""


@dataclass(frozen=True, slots=True)
class Operator:
    """One of those who run this service, as the issuer of their login names them."""

    issuer: str
    subject: str
    """Who it is, for ever and at that issuer alone (OpenID Connect Core 1.0, 2)."""
    name: str = ""
    """What they are called by, such as an e-mail address: to be shown, never to decide by, and not always known."""


class ApiScope(StrEnum):
    """What an application's key may do, with what is the application's own."""

    SESSIONS_WRITE = "sessions:write"
    SESSIONS_READ = "sessions:read"
    CREDENTIALS_READ = "credentials:read"
    """Their metadata and their stories."""
    CREDENTIALS_USE = "credentials:use"
    """Run the tool with one, say of one that the vendor does not take it any more, and delete it.

    Whoever chooses what a tool is asked is trusted with the credential: a tool that can run a shell can read its file.
    """
    CREDENTIALS_REVEAL = "credentials:reveal"
    """Read them in plain text, of providers for which the operator has allowed that."""
    ADMIN = "admin"
    """All of the above but revealing, and what is kept of the application's owners: counting and erasing it."""


class AuditAction(StrEnum):
    """What the audit tells of."""

    CREDENTIAL_STORED = "credential_stored"
    CREDENTIAL_OPENED = "credential_opened"
    CREDENTIAL_REFRESHED = "credential_refreshed"
    """A run's tool renewed it, and the new version is stored."""
    CREDENTIAL_REJECTED = "credential_rejected"
    CREDENTIAL_DELETED = "credential_deleted"
    OWNER_ERASED = "owner_erased"
    REVEAL_ALLOWED = "reveal_allowed"
    """From here on what is stored for a provider may be given out in plain text."""
    REVEAL_FORBIDDEN = "reveal_forbidden"
    AUDIT_PRUNED = "audit_pruned"
    """Whole months of the audit itself are deleted."""


class AuditOutcome(StrEnum):
    """What became of it."""

    GRANTED = "granted"
    DENIED = "denied"


class Purpose(StrEnum):
    """What a credential is opened for."""

    CHECK = "check"
    """The vendor's own CLI looks at it, offline, in a machine of its own."""
    RUN = "run"
    """The vendor's own CLI works with it, in a machine of its owner."""
    ROTATION = "rotation"
    """Its data key alone is opened, and wrapped with another key of the vault."""
    REVEAL = "reveal"
    """It is given to whoever asked, in plain text."""


class Secret:
    """A string that must not be printed: its repr and str are `***`, and it does not pickle."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        """Wrap a value."""
        self._value = value

    def reveal(self) -> str:
        """Return the plain value; every call of this is a place to review."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and secrets.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(("Secret", self._value))

    def __reduce__(self) -> tuple[Any, ...]:
        message = "a secret is not pickled"
        raise TypeError(message)


def new_secret() -> Secret:
    """Return 256 random bits, URL-safe."""
    return Secret(secrets.token_urlsafe(32))


COOKIE_MARK: Final = "host-"
"""What a session's cookie begins with since it is called `__Host-`; one of before can begin so by chance alone."""


def new_cookie() -> Secret:
    """Return a secret for a session's cookie."""
    return Secret(COOKIE_MARK + new_secret().reveal())


_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u to misread


class IdPrefix(StrEnum):
    """The prefix of each kind of id."""

    SESSION = "ses"
    APPLICATION = "app"
    API_KEY = "apk"
    MACHINE = "mac"
    CREDENTIAL = "cred"
    AUDIT = "aud"
    EVENT = "evt"
    ERASURE = "era"
    INCARNATION = "inc"
    INSTALLATION = "ins"
    NODE = "nod"
    LEASE = "lea"
    REPORT = "rep"
    REQUEST = "req"
    RUN = "run"


ID_PATTERN: Final = re.compile(rf"\A({'|'.join(IdPrefix)})_[{_ALPHABET}]{{20}}\Z")


def new_id(prefix: IdPrefix) -> str:
    """Return a new random id, such as `ses_4k2…` (20 characters of base 32: 100 bits)."""
    return f"{prefix}_" + "".join(secrets.choice(_ALPHABET) for _ in range(20))


def is_id(text: str, prefix: IdPrefix) -> bool:
    """Tell whether the text is a well-formed id of that kind."""
    return ID_PATTERN.match(text) is not None and text.startswith(f"{prefix}_")


_ESCAPE_SEQUENCES: Final = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC
    r"|\x1b[PX^_][^\x1b]*(?:\x1b\\)?"  # DCS, SOS, PM, APC
    r"|\x1b[@-Z\\-_]?"
)
_BLANKS: Final = "\t\r\n\u2028\u2029"
"""What would end a line, or move on in it."""
_BIDI: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_LOOKS_SECRET: Final = re.compile(
    r"[A-Za-z0-9+.-]{1,31}://\S+"
    # a number of up to three digits is an exit code or the like
    r"|(?P<kept>(?i:code|token|state|secret|password|verifier|api_key)"
    r"(?:=|%3[Dd])(?![0-9]{1,3}(?:[\s,;)]|\Z)))[^\s&\"'<>]+"
    r"|(?P<kept_too>(?i:access|refresh|id)_(?i:token)[\"']? ?: ?[\"']?)[^\s&\"'<>]+"
    r"|(?P<bearer>\b(?i:bearer) )(?:[A-Za-z0-9._~+/-]{16,}|[A-Za-z._~+/-]{0,15}[0-9][A-Za-z0-9._~+/-]*)=*"
    r"|\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*"
    r"|\b4/0[A-Za-z0-9_-]{8,}"
    r"|\b(?:sk|rt|at|ya29|ghp|gho|ghu|ante)[-_.][A-Za-z0-9._-]{8,}"
)
_SHORTEST_RUN: Final = 24
_RUN: Final = re.compile(rf"[A-Za-z0-9_+/.-]{{{_SHORTEST_RUN},}}={{0,2}}")
_OWN_IDS: Final = re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(IdPrefix)})_[{_ALPHABET}]{{20}}(?![A-Za-z0-9])")
_WORD: Final = re.compile(r"[a-z]{0,20}(?:[A-Z][a-z]{2,15}){0,8}[0-9]{0,4}|[A-Z]{1,16}[0-9]{0,4}|[0-9]{1,10}")
_LONGEST_ODDITY: Final = 4


def _judge(run: re.Match[str]) -> str:
    """Remove a long run unless it is put together of words and numbers, as paths, hosts and versions are."""
    text = _OWN_IDS.sub("", run[0]).rstrip("=")
    pieces = [piece for piece in re.split(r"[._/-]+", text) if piece]
    odd = [piece for piece in pieces if not _WORD.fullmatch(piece)]
    if len(text) < _SHORTEST_RUN or not any(character.isalpha() for character in text):
        is_secret = False
    elif not any(character.isdigit() for character in text):
        is_secret = any(len(piece) >= _SHORTEST_RUN and not piece.islower() for piece in odd)
    else:
        # base 64 has a plus, and else only what words have: its pieces can be like words
        is_secret = "+" in text or len(odd) > 1 or any(len(piece) > _LONGEST_ODDITY for piece in odd)
    return "[removed]" if is_secret else run[0]


_NOT_PRINTABLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def is_printable(text: str) -> bool:
    """Tell whether a text has no character that cannot be seen, and no blanks around it."""
    return text == text.strip() and not any(unicodedata.category(character) in _NOT_PRINTABLE for character in text)


def clean_text(raw: str, limit: int) -> str:
    """Make a foreign string fit to show: no control, escape or bidi characters, URLs or token-like runs."""
    text = _ESCAPE_SEQUENCES.sub("", raw[: limit * 8])
    text = "".join(
        " " if character in _BLANKS else character
        for character in text
        if character in _BLANKS
        or (unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Cn"} and character not in _BIDI)
    )
    text = _LOOKS_SECRET.sub(r"\g<kept>\g<kept_too>\g<bearer>[removed]", text)
    text = _RUN.sub(_judge, text)
    text = re.sub(r" {2,}", " ", text).strip()
    return text if len(text) <= limit else text[: limit - 1] + "…"


class GuestText(str):
    """A string from a guest: cleaned, redacted and limited to 400 characters on the host; escape it at each edge."""

    __slots__ = ()
    LIMIT: Final = 400

    def __new__(cls, raw: str) -> Self:
        """Clean the raw string."""
        return super().__new__(cls, clean_text(raw, cls.LIMIT))


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose credential it is: a person as an application names them."""

    user_id: str
    application: str = DEFAULT_APPLICATION


def application_meant(application: str | None, user_id: str | None) -> str | None:
    """Return the application whose rows are asked for, None: everybody's.

    A user whom the operator names without one is one of the operator's own: applications call theirs as they like.
    """
    return application or (None if user_id is None else DEFAULT_APPLICATION)


@dataclass(frozen=True, slots=True)
class Fields:
    """What a caller says about a session beyond its owner; labels only, never used to authorise."""

    display_name: str | None = None
    purpose: str | None = None
    return_url: str | None = None


@dataclass(frozen=True, slots=True)
class AuthSession:
    """One sign-in attempt, as the database holds it."""

    id: str
    owner: Owner
    provider: str
    status: SessionStatus
    fields: Fields
    created_at: datetime
    status_at: datetime
    expires_at: datetime | None
    """Deadline of the present state; None once terminal."""
    machine_id: str
    reason: Reason | None = None
    detail: str = ""
    """For the operator's log, never for a page."""
    opened_at: datetime | None = None
    """When a link was first exchanged for the session's cookie."""
    consented_at: datetime | None = None
    screen_seen_at: datetime | None = None
    success_shown_at: datetime | None = None
    rejected_at: datetime | None = None
    ended_at: datetime | None = None
    captured_credential_id: str | None = None
    captured_version: int | None = None
    attempt: int = 1
    """Which run of the CLI in the session's machine this is."""
    gave_up_at: datetime | None = None
    """When this run ended without a credential, while its person may still have another started."""
    cli_said: str = ""
    """The last lines of a run that gave up, cleaned; for the session's own page."""
    replace_account: bool = False
    """Whether this sign-in may put another account in the place of the stored credential's."""
    binds: bool = False
    """Whether its application has to say whose browser opened the link before the session opens to it."""


@dataclass(frozen=True, slots=True)
class Application:
    """Who asks for sign-ins of its own users, by keys of its own."""

    id: str
    name: str
    bind_url: str | None
    """Where it tells who sits at a browser; None: the operator opens its links."""
    created_at: datetime
    disabled_at: datetime | None = None
    """Since when its keys open nothing."""
    live: int = 0
    """How many sign-ins it may have open at once; 0: as many as the installation allows."""
    starts_an_hour: int = 0
    """How many it may start within an hour; 0: as many as the installation allows."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An application's key, without what it is; only a hash of that is kept."""

    id: str
    application: str
    name: str
    """What it is called by those who have to tell it from others."""
    scopes: frozenset[ApiScope]
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    """To the minute."""
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class MachineRow:
    """One machine, as the database holds it."""

    id: str
    kind: MachineKind
    session_id: str | None
    state: MachineState
    driver: str
    incarnation: str
    created_at: datetime
    state_at: datetime
    expires_at: datetime | None
    """Deadline of the present state; None once ended."""
    handle: Mapping[str, Any] | None = None
    host_uid: int | None = None
    exit_code: int | None = None
    end_detail: str = ""
    ended_at: datetime | None = None
    node: str | None = None
    """The node that may start it, and once it is `booting` the one that it runs on, for ever."""
    claimed_until: datetime | None = None
    """Until when a requested machine is its node's to start; None unless one has claimed it."""
    credential_id: str | None = None
    """The credential that a check looks at, or that a run works with."""
    run_id: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a provider's tool with a stored credential, as the database holds it."""

    id: str
    owner: Owner
    provider: str
    credential_id: str
    status: RunStatus
    terminal: bool
    """Whether the tool has a terminal; else its streams are pipes."""
    held: bool
    """Whether the tool waits for its reader, and ends with them; else the last of its output is kept."""
    seconds: int
    """How long it may run."""
    node: str
    """The node that it was asked of, whose machine it gets."""
    asked_by: Actor
    created_at: datetime
    status_at: datetime
    arguments: tuple[str, ...] = ()
    """What follows the program on its command line; empty once it has ended."""
    given: bytes | None = None
    """All of the tool's input, until the run has ended; None: its reader types it."""
    workspace: str | None = None
    """The name of the workspace that it works in, until it has ended."""
    expires_at: datetime | None = None
    """Deadline of the present state; None once ended."""
    reason: RunReason | None = None
    exit_code: int | None = None
    """The tool's own: negative for the signal that ended it; None where it is not known."""
    redacted: bool = False
    """Whether something of the credential stood in the output, and was replaced."""
    detail: str = ""
    """For the operator's log, never for a page."""
    machine_id: str | None = None
    ended_at: datetime | None = None
    api_key: str | None = None
    """The id of the application's key by whose right it was asked for."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to be the one live copy of a credential."""

    id: str
    credential_id: str
    run_id: str
    version: int
    """The version that its holder has."""
    granted_at: datetime
    renewing_at: datetime | None = None
    """Since when its holder may be renewing the credential at the vendor, without having stored what came of it."""
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NodeRow:
    """One service of this installation, on one host."""

    id: str
    name: str
    """For people: the host's name unless the operator gave another."""
    url: str | None
    """Where the other nodes reach it, or None where they cannot."""
    joined_at: datetime
    seen_at: datetime
    """When it last said that it lives, by its own clock."""


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One line of the audit; it has no name of a person and no value of a credential."""

    seq: int
    """Grows with each line; between lines that were written at once it can leave gaps."""
    id: str
    at: datetime
    actor: Actor
    action: AuditAction
    outcome: AuditOutcome
    owner: str | None
    """The owner's pseudonym, which nobody can lead back to them once they are removed."""
    purpose: Purpose | None = None
    provider: str | None = None
    credential_id: str | None = None
    version: int | None = None
    session_id: str | None = None
    refused: str | None = None
    """The code of the error with which it was denied."""
    api_key: str | None = None
    """The id of the application's key by whose right it was."""
    reason: str | None = None
    """Why, in the words of whoever asked; kept beside the line, and gone once its owner is removed."""
    fields: Mapping[str, Any] | None = None
    """Of what is about no credential: what was allowed, or deleted."""
    operator: Operator | None = None
    """Which operator it was, where they came by a login; without the name."""


@dataclass(frozen=True, slots=True)
class RevealAllowed:
    """That what is stored for a provider may be given out in plain text."""

    provider: str
    terms_read_on: date
    """When the operator read the vendor's terms, as they say."""
    since: datetime


@dataclass(frozen=True, slots=True)
class Claims:
    """What a credential file says about itself; claims, never used to authorise."""

    account: str | None = None
    plan: str | None = None
    expires_at: datetime | None = None
    """When its access token ends."""
    renewable: bool | None = None
    """Whether something in it lets the tool renew the access token without a sign-in; None where that is not known."""
    ends_at: datetime | None = None
    """Until when it lasts without another sign-in, as far as it says: never an access token that can be renewed."""


@dataclass(frozen=True, slots=True)
class Credential:
    """Metadata of one stored credential; the secret stays in the vault."""

    id: str
    owner: Owner
    provider: str
    version: int
    claims: Claims
    session_id: str
    created_at: datetime
    stored_at: datetime
    """When this version was stored."""
    status: CredentialStatus
    status_reason: CredentialReason
    status_at: datetime
    deleted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed credential version, as it lies in the database."""

    ciphertext: bytes
    wrapped_key: bytes
    key_id: str
    format_version: int


@dataclass(frozen=True, slots=True)
class SealIdentity:
    """What a ciphertext is bound to; it opens under exactly this identity and no other."""

    installation: str
    application: str
    user_id: str
    provider: str
    credential_id: str
    version: int

    @classmethod
    def of(cls, installation: str, owner: Owner, provider: str, credential_id: str, version: int) -> Self:
        """Return what that version of an owner's credential is sealed to, and opens for alone."""
        return cls(installation, owner.application, owner.user_id, provider, credential_id, version)


@dataclass(frozen=True, slots=True)
class Event:
    """One recorded move or note of a session; `seq` grows by commit order within one database."""

    seq: int
    id: str
    session_id: str | None
    machine_id: str | None
    kind: str
    """The fact's word, such as `captured` or `machine_ready`."""
    before: str | None
    after: str | None
    reason: Reason | None
    at: datetime
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Public extras (counts, durations); never a secret."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """The removal of everything of one owner: what is to be done, and afterwards the record that it was."""

    id: str
    application: str
    user_id: str | None
    """Whose; None once it has finished: nothing is left of them, here neither."""
    asked_by: Actor
    api_key: str | None
    """The id of the application's key by whose right it was asked for."""
    operator: Operator | None
    """Which operator asked for it, where they came by a login; without the name."""
    asked_at: datetime
    finished_at: datetime | None
    sessions: int
    """How many have been removed until now; so with the rest."""
    machines: int
    credentials: int
    """Stored ones and tombstones."""
    events: int


@dataclass(frozen=True, slots=True)
class CredentialEvent:
    """One recorded move or note of a credential; `seq` orders those of one credential as they were committed."""

    seq: int
    credential_id: str
    version: int
    kind: str
    """The fact's word, such as `check_refused`."""
    before: CredentialStatus | None
    """None of its first."""
    after: CredentialStatus
    reason: CredentialReason | None
    """Of a move; None of a note."""
    at: datetime
    session_id: str | None = None
    """The session whose doing it is, if any."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Public extras; never a secret."""


@dataclass(frozen=True, slots=True)
class Destination:
    """One name that a session's machine asked for."""

    session_id: str
    name: str
    port: int
    verdict: str
    """`allowed`, `refused`, `unknown_name`, `background` or `wrong_server_name`."""
    bytes_out: int
    bytes_in: int
    connections: int
    first_at: datetime
    last_at: datetime
