"""What answers look like: models built from rows, field by field, so that nothing slips out that is not listed here.

None of them carries a secret, and what the person's page gets carries nothing of a machine but its state. What only the
operator sees of a session, its machine and the service is in `operator_views`.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from antechamber.model import (
    Actor,
    AuditAction,
    AuditOutcome,
    CredentialReason,
    CredentialStatus,
    MachineState,
    Purpose,
    Reason,
    SessionStatus,
)
from antechamber.texts import speaking

if TYPE_CHECKING:
    from antechamber.model import (
        AuditLine,
        AuthSession,
        Credential,
        Destination,
        Event,
        MachineRow,
        Operator,
        RevealAllowed,
    )
    from antechamber.providers import ProviderSpec


class View(BaseModel):
    """An answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Problem(View):
    """An error."""

    code: str
    message: str
    next: str
    retryable: bool


class Fault(View):
    """The body of every answer that is not a success."""

    error: Problem


class StartedView(View):
    """A session that was started, or the live one."""

    session_id: str
    status: SessionStatus
    provider: str
    sign_in_url: str | None
    """Only while no link of the session has been opened, and where the caller is given one; the fragment is single use
    and a secret."""
    expires_at: datetime | None


class LinkView(View):
    """A fresh link of a session."""

    sign_in_url: str
    """Opens once; a secret until then."""


class BoundView(View):
    """A browser whose person the application has named."""

    continue_url: str
    """Where the application sends that browser back; works there alone, and once."""


class BindingView(View):
    """What a browser that is not bound yet may know of a session."""

    application: str
    """The name of the application that asks."""
    url: str
    """The application's own address, with a challenge that is used up there."""


class CredentialView(View):
    """A credential's metadata; account, plan, expires_at, renewable and ends_at are claims of the file."""

    id: str
    provider: str
    application: str
    """Whose user that is: an application's id, or `default` for the operator's own."""
    user_id: str
    status: CredentialStatus
    """A label, as good as its reason; `deleted` is a tombstone's."""
    status_reason: CredentialReason
    status_at: datetime
    account: str | None
    plan: str | None
    expires_at: datetime | None
    """When its access token ends; no reason for a sign-in where `renewable` is true."""
    renewable: bool | None
    """Whether the tool renews the access token by itself; null where an earlier release stored it."""
    ends_at: datetime | None
    """Until when it lasts without a sign-in, as far as it says."""
    version: int
    session_id: str
    created_at: datetime
    stored_at: datetime
    deleted_at: datetime | None
    revoke_url: str | None
    """The vendor's page where its person ends what the vendor holds: a deletion here tells the vendor nothing."""

    @classmethod
    def of(cls, row: Credential, revoke_url: str | None) -> CredentialView:
        """Show a credential's row."""
        return cls(
            id=row.id,
            provider=row.provider,
            application=row.owner.application,
            user_id=row.owner.user_id,
            status=row.status,
            status_reason=row.status_reason,
            status_at=row.status_at,
            account=row.claims.account,
            plan=row.claims.plan,
            expires_at=row.claims.expires_at,
            renewable=row.claims.renewable,
            ends_at=row.claims.ends_at,
            version=row.version,
            session_id=row.session_id,
            created_at=row.created_at,
            stored_at=row.stored_at,
            deleted_at=row.deleted_at,
            revoke_url=revoke_url,
        )


class PolledCredential(View):
    """The credential in the predecessor's poll."""

    id: str
    provider: str
    plan: str | None
    account: str | None
    stored_at: datetime
    deleted_at: datetime | None


class PollView(View):
    """The predecessor's poll, in its words and without its secrets."""

    status: Literal["pending", "ready", "failed", "cancelled", "expired"]
    reason: Reason | None = None
    credential: PolledCredential | None = None

    @classmethod
    def of(cls, session: AuthSession, captured: Credential | None) -> PollView:
        """Show how a session stands; `ready` answers from the database alone."""
        status: Literal["pending", "ready", "failed", "cancelled", "expired"]
        match session.status:
            case SessionStatus.COMPLETED:
                status = "ready"
            case SessionStatus.FAILED:
                status = "failed"
            case SessionStatus.CANCELLED:
                status = "cancelled"
            case SessionStatus.EXPIRED:
                status = "expired"
            case _:
                status = "pending"
        credential = None
        if captured is not None:
            credential = PolledCredential(
                id=captured.id,
                provider=captured.provider,
                plan=captured.claims.plan,
                account=captured.claims.account,
                stored_at=captured.stored_at,
                deleted_at=captured.deleted_at,
            )
        return cls(status=status, reason=session.reason, credential=credential)


class Explanation(View):
    """A reason in a sentence, and what to do next."""

    message: str
    next: str

    @classmethod
    def of(cls, reason: Reason | None) -> Explanation | None:
        """Explain a reason in the asker's language."""
        return cls(**speaking().reasons[reason]._asdict()) if reason else None


class Waiting(View):
    """A place in the line of those who wait for a machine."""

    position: int
    """The first is 1."""


class SessionFields(View):
    """What everybody who may see a session sees of it."""

    session_id: str
    status: SessionStatus
    terminal: bool
    reason: Reason | None
    explanation: Explanation | None
    """The reason for people."""
    owner: str
    """The user_id that the caller gave; a label."""
    display_name: str | None
    purpose: str | None
    return_url: str | None
    created_at: datetime
    status_at: datetime
    expires_at: datetime | None
    opened_at: datetime | None
    consented_at: datetime | None
    screen_seen_at: datetime | None
    success_shown_at: datetime | None
    rejected_at: datetime | None
    ended_at: datetime | None
    attempt: int
    """Which run of the tool in this session's machine it is."""
    gave_up_at: datetime | None
    """When this run ended without a sign-in, while its person may still have another started."""
    replace_account: bool
    """Whether this sign-in may put another account in the place of the stored one."""
    revoke_url: str | None
    """Of an ended sign-in whose person had agreed, and of which nothing is stored: the vendor may hold a grant all the
    same, and this is the vendor's page to end it. Else null."""
    credential_id: str | None
    credential_version: int | None
    account: str | None
    """The claims of the version that this session stored, while it is the current one."""
    plan: str | None
    stored: Literal["current", "replaced", "gone"] | None
    """What became of the version that this session stored: a newer one took its place, or it was deleted."""
    waiting: Waiting | None
    """The place in the line, while it waits for a machine to be free."""
    now: datetime
    """The service's clock, for counting down to expires_at."""

    @classmethod
    def fields_of(
        cls, row: AuthSession, captured: Credential | None, position: int | None, *, revoke_url: str | None
    ) -> dict[str, Any]:
        """Return what every view of a session shows."""
        own = captured is not None and captured.session_id == row.id and captured.deleted_at is None
        claims = captured.claims if captured is not None and own else None
        deleted = captured is None or captured.deleted_at is not None
        stored = None if row.captured_version is None else "current" if own else "gone" if deleted else "replaced"
        return {
            "session_id": row.id,
            "status": row.status,
            "terminal": row.status.terminal,
            "reason": row.reason,
            "explanation": Explanation.of(row.reason),
            "owner": row.owner.user_id,
            "display_name": row.fields.display_name,
            "purpose": row.fields.purpose,
            "return_url": row.fields.return_url,
            "created_at": row.created_at,
            "status_at": row.status_at,
            "expires_at": row.expires_at,
            "opened_at": row.opened_at,
            "consented_at": row.consented_at,
            "screen_seen_at": row.screen_seen_at,
            "success_shown_at": row.success_shown_at,
            "rejected_at": row.rejected_at,
            "ended_at": row.ended_at,
            "attempt": row.attempt,
            "gave_up_at": row.gave_up_at,
            "replace_account": row.replace_account,
            "revoke_url": revoke_url if _may_be_granted(row, captured) else None,
            "credential_id": row.captured_credential_id,
            "credential_version": row.captured_version,
            "account": claims.account if claims else None,
            "plan": claims.plan if claims else None,
            "stored": stored,
            "waiting": None if position is None else Waiting(position=position),
            "now": datetime.now(UTC),
        }


class MachineView(View):
    """A session's machine."""

    id: str
    state: MachineState
    driver: str
    exit_code: int | None
    """Of its first program, once it has ended; says nothing about the session."""
    state_at: datetime
    ended_at: datetime | None

    @classmethod
    def of(cls, row: MachineRow) -> MachineView:
        """Show a machine's row."""
        return cls(
            id=row.id,
            state=row.state,
            driver=row.driver,
            exit_code=row.exit_code,
            state_at=row.state_at,
            ended_at=row.ended_at,
        )


class SessionView(SessionFields):
    """A session, as the operator and its API see it."""

    provider: str
    application: str
    """Whose user that is: an application's id, or `default` for the operator's own."""
    user_id: str
    binds: bool
    """Whether the application says whose browser opened the link."""
    machine: MachineView | None

    @classmethod
    def of(
        cls,
        row: AuthSession,
        captured: Credential | None,
        machine: MachineRow | None,
        position: int | None,
        *,
        revoke_url: str | None,
    ) -> SessionView:
        """Show a session's row."""
        return cls(
            provider=row.provider,
            application=row.owner.application,
            user_id=row.owner.user_id,
            binds=row.binds,
            machine=MachineView.of(machine) if machine else None,
            **cls.fields_of(row, captured, position, revoke_url=revoke_url),
        )


class AboutProvider(View):
    """What a person must know of a provider before they connect."""

    id: str
    name: str
    notices: list[str]
    """Sentences to read before connecting."""
    captures: list[str]
    """What is captured, in sentences."""
    revoke_url: str
    """Where a sign-in is ended at the vendor."""
    terms_url: str

    @classmethod
    def of(cls, spec: ProviderSpec) -> AboutProvider:
        """Show a provider's definition."""
        return cls(**_about(spec))


class Step(View):
    """Something that has happened to the session."""

    step: str
    at: datetime


class DoneView(View):
    """Something that was done with a stored credential, or that somebody tried: a line of the audit, for its owner."""

    at: datetime
    action: AuditAction
    outcome: AuditOutcome
    actor: Actor
    purpose: Purpose | None
    version: int | None
    reason: str | None
    """Why, in the words of whoever asked for it in plain text."""

    @classmethod
    def of(cls, line: AuditLine) -> DoneView:
        """Show of a line what is its owner's to see."""
        return cls(
            at=line.at,
            action=line.action,
            outcome=line.outcome,
            actor=line.actor,
            purpose=line.purpose,
            version=line.version,
            reason=line.reason,
        )


class DoneList(View):
    """What was done with the credential that a session stored, the last first."""

    done: list[DoneView]


class Receipt(View):
    """What was stored, for whoever signed in."""

    stored_at: datetime
    tool_version: str
    """The version of the vendor's tool that is installed here."""
    tool_sha256: str | None
    """One hash of all its files; null where it is not installed any more."""


class Before(View):
    """The sign-in that is stored already, in whose place this one comes."""

    account: str | None
    """As its file claimed; null where it named none."""
    stored_at: datetime


class PageView(SessionFields):
    """A session, as its own browser sees it."""

    provider: AboutProvider
    application: str | None
    """The name of the application that asked for it; null: the operator did."""
    before: Before | None
    """While the session is live: what is stored for this owner and provider already."""
    consented: bool
    revealed: bool
    """Whether what it stores may be given out in plain text."""
    practice: bool
    """Whether this is the practice world; the page then says so all the time."""
    operator: str
    """Who runs the service."""
    isolation: str
    """The driver's word for what keeps the machine apart."""
    machine: str
    """What the machine is, in words."""
    lasts_s: int
    """For how long the machine waits for the sign-in, in seconds, once its screen is seen."""
    receipt: Receipt | None
    """While what this session stored is the current version."""
    rejectable: bool
    """Whether the person can still say that the account is not theirs."""
    steps: list[Step]
    cli_terminal: Literal["write", "read", "none"]
    """Whether what the tool writes can be seen, and whether it has a terminal to type into."""
    cli_said: list[str]
    """The last lines of a run of the tool that gave up."""


class RevealView(View):
    """That the operator allows plain text to be given out."""

    since: datetime
    terms_read_on: date
    """On which day they read the vendor's terms, as they say."""


class ProviderView(AboutProvider):
    """A provider, for the dashboard's cards."""

    vendor: str
    aliases: list[str]
    installed: bool
    version: str
    """The pinned version of its command-line tool."""
    sha256: str | None
    """One hash of all its files, as they were when the service started."""
    message: str | None
    """Why it is not available, and what to do."""
    reveal: RevealView | None
    """Null: what is stored for it is not given out in plain text."""

    @classmethod
    def shown(
        cls, spec: ProviderSpec, sha256: str | None, message: str | None, allowed: RevealAllowed | None
    ) -> ProviderView:
        """Show a provider and how it is installed here."""
        return cls(
            **_about(spec),
            vendor=spec.vendor,
            aliases=list(spec.aliases),
            installed=sha256 is not None,
            version=spec.version,
            sha256=sha256,
            message=message,
            reveal=RevealView(since=allowed.since, terms_read_on=allowed.terms_read_on) if allowed else None,
        )


class EventView(View):
    """One recorded move or note."""

    seq: int
    id: str
    kind: str
    before: str | None
    after: str | None
    reason: Reason | None
    at: datetime
    fields: dict[str, Any]

    @classmethod
    def of(cls, row: Event) -> EventView:
        """Show an event's row."""
        return cls(
            seq=row.seq,
            id=row.id,
            kind=row.kind,
            before=row.before,
            after=row.after,
            reason=row.reason,
            at=row.at,
            fields=dict(row.fields),
        )


class DestinationView(View):
    """A name that the session's machine asked for."""

    name: str
    port: int
    verdict: str
    known: bool
    """Whether a sign-in with this provider is known to need it."""
    bytes_out: int
    bytes_in: int
    connections: int
    first_at: datetime
    last_at: datetime

    @classmethod
    def of(cls, row: Destination, *, known: bool) -> DestinationView:
        """Show a destination's row."""
        return cls(
            name=row.name,
            port=row.port,
            verdict=row.verdict,
            known=known,
            bytes_out=row.bytes_out,
            bytes_in=row.bytes_in,
            connections=row.connections,
            first_at=row.first_at,
            last_at=row.last_at,
        )


class SessionList(View):
    """Sessions, newest first."""

    sessions: list[SessionView]
    older: str | None
    """What to send as `before` for the next ones; null where these were the oldest."""


class CredentialList(View):
    """Credentials that are stored."""

    credentials: list[CredentialView]


class ProviderList(View):
    """The providers of this service."""

    providers: list[ProviderView]


class DestinationList(View):
    """What a session's machine asked for."""

    destinations: list[DestinationView]


class TicketView(View):
    """A single-use right to the screen, sent back as a WebSocket subprotocol `ticket.<ticket>`."""

    ticket: str
    expires_at: datetime


class DriverView(View):
    """What starts machines here."""

    name: str
    isolation: str
    machine: str
    """What a machine is, in words."""
    own_uids: bool
    """Whether each machine has a host account of its own."""


class NamedApplication(View):
    """An application, for whoever has its id before them."""

    id: str
    name: str


class OperatorView(View):
    """Which operator it is, or was, by the word of the issuer of their login."""

    issuer: str
    subject: str

    @classmethod
    def of(cls, operator: Operator | None) -> OperatorView | None:
        """Show one, or nobody."""
        return cls(issuer=operator.issuer, subject=operator.subject) if operator else None


class LoginView(View):
    """Where an operator's browser is to go, to be signed in by the issuer."""

    url: str


class LogoutView(View):
    """That the dashboard is closed in this browser."""

    url: str | None
    """Where the operator can end their session at the issuer too."""


class NamedOperator(OperatorView):
    """The operator at whose browser this dashboard is open."""

    name: str
    """What they are called by; it decides nothing."""


class DashboardView(View):
    """What the dashboard says of the service itself."""

    version: str
    world: str
    practice: bool
    ready: bool
    faults: list[str]
    """What keeps it from being ready, in sentences."""
    driver: DriverView
    sign_in_url: str
    applications: list[NamedApplication]
    operator: NamedOperator | None
    """Who has signed in; null where it was opened by the service's own link, or a token asks."""


class Health(View):
    """That the service answers."""

    status: Literal["ok", "ready"]


def _may_be_granted(row: AuthSession, captured: Credential | None) -> bool:
    """Tell whether the vendor may hold a grant that came of this session, and of which nothing is stored here.

    Before the person agrees, they can neither see the screen nor type into the tool's terminal.
    """
    if row.status is SessionStatus.COMPLETED:
        return captured is None or captured.deleted_at is not None
    return row.status.terminal and row.consented_at is not None


def _about(spec: ProviderSpec) -> dict[str, Any]:
    return {
        "id": spec.id,
        "name": spec.name,
        "notices": speaking().of_provider(spec.id, "notices", spec.notices),
        "captures": speaking().of_provider(spec.id, "captures", spec.captures),
        "revoke_url": spec.revoke_url,
        "terms_url": spec.terms.url,
    }
