"""The use cases of a sign-in: start, open, consent, capture, cancel, list; short transactions, no waiting.

Nothing here starts or stops a machine: it writes what is to be, and the reconciler makes it so.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from antechamber.applications import Applications
from antechamber.auditing import Auditing
from antechamber.binding import Binding
from antechamber.credentials import CredentialLife
from antechamber.errors import CallerError, Code, MachineError, ProviderError
from antechamber.keys import took_named_key
from antechamber.lifecycle import Act, SessionFact
from antechamber.log import get_logger
from antechamber.model import (
    DEFAULT_APPLICATION,
    AccessKind,
    Actor,
    AuditLine,
    AuthSession,
    Credential,
    Destination,
    Event,
    Fields,
    IdPrefix,
    MachineRow,
    NodeRow,
    Operator,
    Owner,
    Purpose,
    Reason,
    SealIdentity,
    Secret,
    SessionStatus,
    new_cookie,
    new_id,
    new_secret,
)
from antechamber.opening import Opening
from antechamber.owners import Owners
from antechamber.points import Point, point
from antechamber.revealing import Revealing
from antechamber.store import CliEnded, Idempotency, Limits, NewSession
from antechamber.tracing import parent_of
from antechamber.vault import at_the_root

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from antechamber.model import GuestText
    from antechamber.providers import CapturedFile, Providers, ProviderSpec
    from antechamber.providers.capture import Parsed
    from antechamber.settings import Settings
    from antechamber.store import About, Captured, Entered, Moved, Store, Version
    from antechamber.vault import Vault

_log = get_logger("signin")

COOKIE_LIFE: Final = timedelta(hours=24)
"""How long the browser that opened a link may look at its session, its end included."""

DASHBOARD_LINK_LIFE: Final = timedelta(hours=1)
DASHBOARD_COOKIE_LIFE: Final = timedelta(hours=12)
TOLD_AFTER: Final = timedelta(seconds=1)
"""How long a session has waited for a machine before its place in the line is told."""
_SEAL_TRIES: Final = 20


def now() -> datetime:
    """Return the time, aware and in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class StartRequest:
    """What a caller asks for."""

    user_id: str
    provider: str
    replace: bool = False
    replace_account: bool = False
    """Whether it may put another account in the place of the stored credential's."""
    display_name: str | None = None
    purpose: str | None = None
    return_url: str | None = None
    application: str = DEFAULT_APPLICATION
    """Whose user it is."""


@dataclass(frozen=True, slots=True)
class Started:
    """A session and, where one may still be opened, its fresh link code."""

    session: AuthSession
    link: Secret | None
    """None once one was opened, and where only the operator opens them: see `link`."""
    created: bool


@dataclass(frozen=True, slots=True)
class Ticket:
    """A single-use right to the screen."""

    secret: Secret
    expires_at: datetime


class SignIn:
    """The use cases over one store, vault and set of providers."""

    def __init__(
        self,
        *,
        store: Store,
        vault: Vault,
        providers: Providers,
        settings: Settings,
        driver: str,
        require: Callable[[ProviderSpec], None],
        clock: Callable[[], datetime] = now,
    ) -> None:
        """Bind the parts; `require` raises OperatorError where a sign-in with that provider cannot start here."""
        self._store = store
        self._vault = vault
        self._providers = providers
        self._settings = settings
        self._driver = driver
        self.require: Final = require
        self.clock = clock
        """What time it is, for the service as a whole."""
        self._limits = Limits(
            owner_live=settings.owner_live,
            owner_starts=settings.owner_starts_an_hour,
            live=settings.live,
            starts=settings.starts_an_hour,
        )
        self.changes = store.changes
        self.owners = Owners(store, clock)
        self.applications = Applications(store, clock)
        self.binding = Binding(store, clock, cookie_life=COOKIE_LIFE)
        self._opening = Opening(store, vault, clock)
        self.auditing = Auditing(store, settings, clock)
        self.revealing = Revealing(store, self._opening, providers, clock, an_hour=settings.reveals_an_hour)
        self.life = CredentialLife(store, near=settings.duration("expiring"), clock=clock)

    # -- starting ----------------------------------------------------------------------------------------------------

    async def start(
        self, request: StartRequest, *, idempotency_key: str | None, caller: str, traceparent: str | None = None
    ) -> Started:
        """Make a session, or return the live one of this owner and provider with a fresh link while none was opened.

        `traceparent` is the caller's own span, as W3C Trace Context writes it; one that is not well-formed is ignored.
        Raises CallerError: unknown_provider, already_open, idempotency_mismatch, and where a session more would be too
        many one of the …_limit codes; OperatorError when it cannot work, which is
        root_unavailable where what it brings could not be sealed.
        """
        spec = self._providers.get(request.provider)
        self.require(spec)
        own = request.application == DEFAULT_APPLICATION
        binds = not own and (await self.applications.get(request.application)).bind_url is not None
        # a sign-in whose end could not be sealed is better not begun
        await at_the_root(self._vault.answers)
        at = self.clock()
        parent = parent_of(traceparent)
        new = NewSession(
            owner=Owner(request.user_id, request.application),
            provider=spec.id,
            fields=Fields(request.display_name, request.purpose, request.return_url),
            driver=self._driver,
            expires_at=at + self._settings.duration("wait"),
            traceparent=str(parent) if parent else None,
            replace_account=request.replace_account,
            binds=binds,
        )
        idempotency = None
        if idempotency_key is not None:
            said = {**asdict(request), "provider": spec.id}
            # the key is the application's own already: see `caller`
            del said["application"]
            if not request.replace_account:
                # as a release before had it, so that a repeat across an upgrade is still one
                del said["replace_account"]
            body = json.dumps(said, sort_keys=True)
            idempotency = Idempotency(idempotency_key, hashlib.sha256(body.encode()).hexdigest(), caller)
        created = await self._store.sessions.create(
            new, at=at, replace=request.replace, idempotency=idempotency, limits=self._limits
        )
        session = created.session
        if created.outcome == "live" and session.opened_at is not None:
            raise CallerError(Code.ALREADY_OPEN)
        point(Point.SESSION_CREATED)
        link = None
        if own or session.binds:
            link = await self._grant_link(session.id, at)
            if link is None and created.outcome == "live":
                # opened, or ended, a moment ago
                raise CallerError(Code.ALREADY_OPEN)
        if created.outcome == "created":
            _log.info(
                "session created",
                session=session.id,
                machine=session.machine_id,
                owner=session.owner.user_id,
                provider=session.provider,
            )
        return Started(session, link, created.outcome == "created")

    async def link(self, session_id: str) -> Secret:
        """Give the operator a fresh link of a session, for the person beside them; earlier ones are void.

        Raises CallerError session_not_found, session_ended, already_open, and bind_needed where its application says
        who sits at the browser.
        """
        session = await self.session(session_id)
        if session.binds:
            raise CallerError(
                Code.BIND_NEEDED,
                message="Its application says whose browser opens this sign-in.",
                next_step="Have the application send its user the link.",
            )
        if session.status.terminal:
            raise CallerError(Code.SESSION_ENDED)
        link = await self._grant_link(session_id, self.clock())
        if link is None:
            raise CallerError(Code.ALREADY_OPEN)
        return link

    async def _grant_link(self, session_id: str, at: datetime) -> Secret | None:
        link = new_secret()
        given = await self._store.access.grant_link(
            link, session_id=session_id, at=at, expires_at=at + self._settings.duration("link")
        )
        point(Point.LINK_GRANTED)
        return link if given else None

    # -- what the person does ----------------------------------------------------------------------------------------

    async def open(self, session_id: str, code: Secret) -> Secret:
        """Exchange a link's code for the session's cookie; once. Raises CallerError link_not_valid."""
        at = self.clock()
        cookie = new_cookie()
        opened = await self._store.access.open_link(
            code, cookie, session_id=session_id, at=at, cookie_expires_at=at + COOKIE_LIFE
        )
        if not opened:
            raise CallerError(Code.LINK_NOT_VALID)
        point(Point.LINK_OPENED)
        return cookie

    async def holds_cookie(self, session_id: str, cookie: Secret) -> bool:
        """Tell whether the cookie is that session's."""
        return await self._store.access.holds(AccessKind.SESSION_COOKIE, cookie, session_id=session_id, at=self.clock())

    async def consent(self, session_id: str) -> AuthSession:
        """Record the click by which the person agrees."""
        return _accepted(await self._apply(session_id, SessionFact.CONSENTED)).session

    async def ticket(self, session_id: str) -> Ticket:
        """Give a screen ticket; raises CallerError consent_needed, screen_not_ready or session_ended."""
        session = await self.session(session_id)
        if session.status.terminal:
            raise CallerError(Code.SESSION_ENDED)
        if session.consented_at is None:
            raise CallerError(Code.CONSENT_NEEDED)
        if session.status is not SessionStatus.AWAITING_SIGN_IN:
            raise CallerError(Code.SCREEN_NOT_READY)
        return await self._grant_ticket(session_id)

    async def terminal_ticket(self, session_id: str) -> Ticket:
        """Give a ticket for the tool's terminal, also while the machine starts; raises as `ticket` does."""
        session = await self.session(session_id)
        if session.status.terminal:
            raise CallerError(Code.SESSION_ENDED)
        if session.consented_at is None:
            raise CallerError(Code.CONSENT_NEEDED)
        if session.status is SessionStatus.PENDING or self._providers.get(session.provider).terminal == "none":
            raise CallerError(Code.SCREEN_NOT_READY)
        return await self._grant_ticket(session_id)

    async def _grant_ticket(self, session_id: str) -> Ticket:
        at = self.clock()
        ticket = Ticket(new_secret(), at + self._settings.duration("ticket"))
        await self._store.access.grant(
            AccessKind.TICKET, ticket.secret, session_id=session_id, at=at, expires_at=ticket.expires_at
        )
        point(Point.TICKET_GRANTED)
        return ticket

    async def holds_ticket(self, session_id: str, ticket: Secret) -> bool:
        """Tell whether a ticket is good now, without using it up."""
        return await self._store.access.holds(AccessKind.TICKET, ticket, session_id=session_id, at=self.clock())

    async def redeem_ticket(self, session_id: str, ticket: Secret) -> None:
        """Use a ticket up; raises CallerError ticket_not_valid, or session_ended when it outlived its session."""
        if not await self._store.access.redeem(AccessKind.TICKET, ticket, session_id=session_id, at=self.clock()):
            raise CallerError(Code.TICKET_NOT_VALID)
        point(Point.TICKET_REDEEMED)
        if (await self.session(session_id)).status.terminal:
            raise CallerError(Code.SESSION_ENDED)

    async def screen_seen(self, session_id: str) -> None:
        """Start the sign-in clock, the first time that the person sees the screen."""
        session = await self.session(session_id)
        if session.screen_seen_at is None:
            at = self.clock()
            await self._store.sessions.apply(
                session_id, SessionFact.SCREEN_SEEN, at=at, expires_at=at + self._settings.duration("sign_in")
            )
            point(Point.SCREEN_SEEN)

    async def cli_ended(
        self, session_id: str, attempt: int, lines: Sequence[GuestText], *, reason: Reason, detail: str, code: int
    ) -> AuthSession:
        """Take it that a run of the CLI ended without a credential.

        Where the person has seen the screen they may have it started again within `again_s`; else the session fails.
        What is said of an earlier run than the present one changes nothing.
        """
        at = self.clock()
        ended = CliEnded(attempt, "\n".join(lines), reason, detail, code)
        return await self._store.attempts.ended(
            session_id, ended, at=at, expires_at=at + self._settings.duration("again")
        )

    async def again(self, session_id: str, attempt: int) -> AuthSession:
        """Have the CLI started again after that run of it gave up; once for each run, however often it is asked.

        Raises CallerError cli_runs, session_ended.
        """
        at = self.clock()
        moved = await self._store.attempts.again(
            session_id, attempt, at=at, expires_at=at + self._settings.duration("sign_in")
        )
        point(Point.AGAIN_WRITTEN)
        return _accepted(moved).session

    async def success_shown(self, session_id: str) -> AuthSession:
        """Record that the page has shown success: the machine need not wait any longer."""
        return _accepted(await self._apply(session_id, SessionFact.SUCCESS_SHOWN)).session

    async def reject(self, session_id: str) -> AuthSession:
        """Delete at once the version that this session captured; raises not_rejectable after a later one."""
        rejected = await self._store.credentials.reject(session_id, at=self.clock())
        point(Point.REJECTED)
        _accepted(rejected.moved)
        _log.info("credential rejected by the person", session=session_id)
        return rejected.moved.session

    async def cancel(self, session_id: str, *, by_person: bool) -> AuthSession:
        """End a live session; raises CallerError session_ended on a terminal one."""
        reason = Reason.CANCELLED_BY_PERSON if by_person else Reason.CANCELLED_BY_CALLER
        moved = await self._apply(session_id, SessionFact.CANCELLED, reason=reason)
        point(Point.CANCELLED)
        return _accepted(moved).session

    # -- what the machine brings -------------------------------------------------------------------------------------

    async def capture(
        self, session_id: str, machine_id: str, report_id: str, files: Mapping[str, CapturedFile]
    ) -> None:
        """Seal and store the credential and complete the session, in one transaction; doing it again changes nothing.

        Raises ProviderError when the files are not a credential of this provider, or of another account than the
        stored one that this session may not replace (the session has then failed), and MachineError capture_refused
        when the session had ended otherwise; in each case nothing is stored, and what was stored before stays.
        """
        session = await self.session(session_id)
        if session.machine_id != machine_id:
            raise MachineError(Code.CAPTURE_REFUSED, detail="the report came from another session's machine")
        if session.status is SessionStatus.COMPLETED:
            return
        spec = self._providers.get(session.provider)
        try:
            parsed = spec.parse(files)
        except ProviderError as error:
            await self._apply(
                session_id,
                SessionFact.SIGN_IN_FAILED,
                reason=Reason.CREDENTIAL_UNUSABLE,
                detail=f"{error.code}: {error}",
            )
            raise
        checked_at = self.clock()
        for warning in parsed.warnings:
            _log.warning("the vendor changed its credential file", session=session_id, provider=spec.id, what=warning)
        fields = {"checked_at": checked_at.isoformat()}
        whole_at = datetime.fromtimestamp(files["credential"].mtime_ns / 1e9, UTC)
        if session.created_at <= whole_at <= checked_at:
            # else a clock was set meanwhile, or the tool gave its file a time of its own
            fields["file_whole_at"] = whole_at.isoformat()
        captured = await self._seal_and_store(session, spec, parsed, report_id, fields)
        if captured.outcome == "captured":
            # the predecessor's operators watch for this line
            _log.info(
                "session completed",
                session=session_id,
                machine=machine_id,
                owner=session.owner.user_id,
                provider=session.provider,
            )
        if captured.outcome == "refused":
            raise MachineError(Code.CAPTURE_REFUSED)
        if captured.outcome == "other_account":
            raise ProviderError(Code.OTHER_ACCOUNT, detail=captured.session.detail)

    async def _seal_and_store(
        self, session: AuthSession, spec: ProviderSpec, parsed: Parsed, report_id: str, fields: Mapping[str, str]
    ) -> Captured:
        any_key = False
        for _ in range(_SEAL_TRIES):
            current = await self._store.credentials.current(session.owner, spec.id)
            credential_id = current.id if current else new_id(IdPrefix.CREDENTIAL)
            version = current.version if current else 0
            identity = SealIdentity.of(self._store.installation, session.owner, spec.id, credential_id, version + 1)
            sealed = await at_the_root(self._vault.seal, parsed.bundle, identity)
            point(Point.SEALED)
            captured = await self._store.credentials.capture(
                session.id,
                credential_id=credential_id,
                expected_version=version,
                sealed=sealed,
                claims=parsed.claims,
                report_id=report_id,
                at=self.clock(),
                fields=fields,
                any_key=any_key,
            )
            point(Point.CAPTURED)
            if captured.outcome == "key_changed":
                any_key = not await took_named_key(self._store, self._vault)
            elif captured.outcome != "conflict":
                return captured
        raise MachineError(Code.CAPTURE_REFUSED, detail="the credential's version moved on at every try")

    # -- looking -----------------------------------------------------------------------------------------------------

    async def session(self, session_id: str) -> AuthSession:
        """Return a session; raises CallerError session_not_found."""
        session = await self._store.sessions.get(session_id)
        if session is None:
            raise CallerError(Code.SESSION_NOT_FOUND)
        return session

    async def sessions(
        self,
        *,
        user_id: str | None = None,
        application: str | None = None,
        provider: str | None = None,
        status: SessionStatus | None = None,
        live: bool | None = None,
        limit: int = 100,
        before: str | None = None,
    ) -> list[AuthSession]:
        """Return sessions, newest first; `before` is the id of a session whose elders are wanted."""
        return await self._store.sessions.list(
            user_id=user_id,
            application=application,
            provider=provider,
            status=status,
            live=live,
            limit=limit,
            before=before,
        )

    async def events(self, session_id: str, *, after: int = 0, machines: bool = False) -> list[Event]:
        """Return a session's events with a seq above `after`, oldest first; with `machines` its machine's too."""
        return await self._store.sessions.events(session_id, after=after, machines=machines)

    async def machine(self, session_id: str) -> MachineRow | None:
        """Return the machine of a session."""
        return await self._store.machines.of_session(session_id)

    async def place_in_line(self, session: AuthSession) -> int | None:
        """Return the place of a session that waits for a machine, the first is 1; None when it does not.

        In its first second nobody is told of a place: where there is room a machine is begun within moments.
        """
        at = self.clock()
        if session.status is not SessionStatus.PENDING or at - session.created_at < TOLD_AFTER:
            return None
        return await self._store.line.position(session.id, at)

    async def node(self, session_id: str) -> NodeRow | None:
        """Return the node that a session's machine runs on, or None while it does not run."""
        return await self._store.nodes.of_session(session_id)

    async def machines(self, *, ended: int) -> list[MachineRow]:
        """Return the machines that have not ended, oldest first, and so many of those that have, newest first."""
        return [*await self._store.machines.not_ended(), *await self._store.machines.ended(ended)]

    async def nodes(self) -> list[tuple[NodeRow, int]]:
        """Return the services of this installation, each with its number of machines that have not ended."""
        return await self._store.nodes.list()

    async def database(self) -> About:
        """Say which database this is; raises OperatorError store_unavailable."""
        return await self._store.about()

    async def destinations(self, session_id: str) -> list[Destination]:
        """Return the names that a session's machine asked for."""
        return await self._store.destinations.list(session_id)

    async def connections(self, session_id: str) -> dict[str, int]:
        """Count a session's connections by what the way out said of them; never where they went."""
        counts: dict[str, int] = {}
        for one in await self._store.destinations.list(session_id):
            counts[one.verdict] = counts.get(one.verdict, 0) + one.connections
        return dict(sorted(counts.items()))

    def provider(self, provider: str) -> ProviderSpec:
        """Return a provider, by an alias too; raises CallerError unknown_provider."""
        return self._providers.get(provider)

    async def credentials(self, user_id: str | None = None, application: str | None = None) -> list[Credential]:
        """Return the metadata of live credentials, of one user or all, of one application or all."""
        return await self._store.credentials.list(user_id=user_id, application=application)

    async def stored(self, owner: Owner, provider: str) -> Credential | None:
        """Return the metadata of the owner's live credential of a provider, or None."""
        return await self._store.credentials.current(owner, provider)

    async def tombstones(self, limit: int, application: str | None = None) -> list[Credential]:
        """Return what is left of deleted credentials, the last deleted first."""
        return await self._store.credentials.tombstones(limit, application)

    async def credential_versions(self, credential_id: str) -> list[Version]:
        """Return what is known of each version, newest first, of a tombstone too; raises credential_not_found."""
        versions = await self._store.credentials.versions(credential_id)
        if not versions:
            raise CallerError(Code.CREDENTIAL_NOT_FOUND)
        return versions

    async def credential(self, credential_id: str) -> Credential:
        """Return one live credential's metadata; raises CallerError credential_not_found."""
        credential = await self._store.credentials.get(credential_id)
        if credential is None or credential.deleted_at is not None:
            raise CallerError(Code.CREDENTIAL_NOT_FOUND)
        return credential

    async def owner_of_credential(self, credential_id: str) -> Owner | None:
        """Return whose a credential is, or was; None where there is none."""
        credential = await self._store.credentials.get(credential_id)
        return None if credential is None else credential.owner

    async def captured(self, session: AuthSession) -> Credential | None:
        """Return the credential that a completed session stored, also when it is a tombstone by now."""
        if session.captured_credential_id is None:
            return None
        return await self._store.credentials.get(session.captured_credential_id)

    async def delete_credential(
        self, credential_id: str, *, by: Actor, api_key: str | None = None, operator: Operator | None = None
    ) -> Credential:
        """Delete a credential: ciphertext and data key are gone, a tombstone stays."""
        deleted = await self._store.credentials.delete(
            credential_id, at=self.clock(), by=by, api_key=api_key, operator=operator
        )
        if deleted is None:
            raise CallerError(Code.CREDENTIAL_NOT_FOUND)
        point(Point.DELETED)
        _log.info("credential deleted", credential=credential_id)
        return deleted

    async def open_credential(
        self, owner: Owner, provider: str, *, purpose: Purpose, by: Actor, api_key: str | None = None
    ) -> tuple[Credential, bytes]:
        """Open a credential for a machine of its own owner: see `Opening.for_machine`; raises unknown_provider too."""
        known = self._providers.get(provider).id
        return await self._opening.for_machine(owner, known, purpose=purpose, by=by, api_key=api_key)

    async def audit(self, *, after: int, limit: int, owner: Owner | None = None) -> list[AuditLine]:
        """Return lines of the audit with a seq above `after`, the oldest first; of one owner with `owner`."""
        return await self._store.audit.list(after=after, limit=limit, owner=owner)

    async def done_with(self, session: AuthSession, *, limit: int) -> Sequence[AuditLine]:
        """Return the audit's lines of the credential that a session stored, the last first."""
        if session.captured_credential_id is None:
            return []
        return await self._store.audit.of_credential(session.owner, session.captured_credential_id, limit=limit)

    # -- the dashboard's own access ----------------------------------------------------------------------------------

    async def dashboard_link(self) -> Secret:
        """Give a one-time code for the dashboard."""
        at = self.clock()
        code = new_secret()
        await self._store.access.grant(
            AccessKind.DASHBOARD_LINK, code, session_id=None, at=at, expires_at=at + DASHBOARD_LINK_LIFE
        )
        return code

    async def open_dashboard(self, code: Secret) -> Secret:
        """Exchange the one-time code for the dashboard's cookie; raises CallerError link_not_valid."""
        at = self.clock()
        if not await self._store.access.redeem(AccessKind.DASHBOARD_LINK, code, session_id=None, at=at):
            raise CallerError(Code.LINK_NOT_VALID)
        cookie = new_secret()
        await self._store.access.grant(
            AccessKind.DASHBOARD_COOKIE, cookie, session_id=None, at=at, expires_at=at + DASHBOARD_COOKIE_LIFE
        )
        return cookie

    async def enter(
        self, login: Secret, operator: Operator, *, terms: str, login_expires_at: datetime, lasts: timedelta
    ) -> Secret:
        """End an operator's login, once, and give the dashboard's cookie; raises CallerError login_not_valid.

        `terms` is the digest of those on which they were let in.
        """
        at = self.clock()
        cookie = new_secret()
        entered = await self._store.logins.enter(
            login,
            cookie,
            operator,
            terms=terms,
            at=at,
            login_expires_at=login_expires_at,
            cookie_expires_at=at + lasts,
        )
        if not entered:
            raise CallerError(Code.LOGIN_NOT_VALID)
        _log.info("an operator has signed in", subject=operator.subject)
        return cookie

    async def entered(self, cookie: Secret) -> Entered | None:
        """Return by what the cookie opens the dashboard, or None where it does not."""
        return await self._store.logins.entered(cookie, at=self.clock())

    async def leave(self, cookie: Secret) -> None:
        """Have a cookie open the dashboard no more."""
        await self._store.logins.leave(cookie)

    async def _apply(
        self, session_id: str, fact: SessionFact, *, reason: Reason | None = None, detail: str = ""
    ) -> Moved:
        return await self._store.sessions.apply(session_id, fact, at=self.clock(), reason=reason, detail=detail)


def _accepted(moved: Moved) -> Moved:
    """Pass a fact that the table took; raise its error where the table refused it."""
    if moved.decision.act is Act.REFUSE:
        raise CallerError(moved.decision.error or Code.SESSION_ENDED)
    return moved
