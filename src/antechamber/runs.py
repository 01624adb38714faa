"""Runs of a provider's tool with a stored credential: asked for, told of, ended, and what they make of the credential.

Nothing here starts or stops a machine: it writes what is to be, and the reconciler makes it so.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from antechamber.errors import CallerError, Code, MachineError, ProviderError
from antechamber.guest.protocol import WHOLE
from antechamber.keys import took_named_key
from antechamber.lifecycle import Act
from antechamber.log import get_logger
from antechamber.model import AccessKind, Purpose, Run, RunStatus, SealIdentity, Secret, new_secret
from antechamber.points import Point, point
from antechamber.providers import judge
from antechamber.run_life import RunFact
from antechamber.signin import Ticket
from antechamber.store import Idempotency, NewRun, NewVersion, RunLimits
from antechamber.vault import at_the_root
from antechamber.workspaces import AT, Workspaces

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from antechamber.model import Actor, NodeRow, Owner
    from antechamber.providers import CapturedFile, Providers, ProviderSpec
    from antechamber.settings import Settings
    from antechamber.signin import SignIn
    from antechamber.store import RunMoved, Store, WrittenBack
    from antechamber.vault import Vault

_log = get_logger("runs")
_TRIES: Final = 5


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What is asked for."""

    owner: Owner
    provider: str
    arguments: tuple[str, ...]
    """What follows the program on its command line."""
    terminal: bool
    held: bool
    by: Actor
    api_key: str | None = None
    seconds: int | None = None
    """How long it may run; None: as long as the operator allows."""
    given: bytes | None = None
    """All of the tool's input; None: its reader types it."""
    workspace: str | None = None
    """The name of the workspace that it works in; None: an empty folder of its own."""


class Runs:
    """The use cases of runs."""

    def __init__(
        self,
        *,
        store: Store,
        vault: Vault,
        signin: SignIn,
        providers: Providers,
        settings: Settings,
        driver: str,
        node: str,
    ) -> None:
        """Bind the parts; `driver` starts the machines of this service, which is the node `node`."""
        self._store = store
        self._vault = vault
        self._signin = signin
        self._providers = providers
        self._settings = settings
        self._driver = driver
        self._node = node
        self.workspaces = Workspaces(settings.workspaces)
        self._limits = RunLimits(owner=settings.owner_runs, all=settings.runs)
        self.clock = signin.clock
        self.changes = store.changes

    # -- what a caller asks for --------------------------------------------------------------------------------------

    async def start(self, request: RunRequest, *, idempotency_key: str | None = None, caller: str = "") -> Run:
        """Make a run, which begins as soon as its credential and a machine are free.

        A repeat with an Idempotency-Key of that caller's returns the run of before. Raises CallerError:
        unknown_provider, bad_request, argument_refused, workspace_not_found, credential_not_found,
        credential_not_usable, idempotency_mismatch, owner_run_limit, run_limit; OperatorError when it cannot work,
        which is root_unavailable where its credential could not be opened.
        """
        spec = self._providers.get(request.provider)
        self._signin.require(spec)
        if (refusal := judge(spec.definition, request.arguments)) is not None:
            raise refusal.error()
        seconds = self._seconds(request.seconds)
        if any("\0" in argument for argument in request.arguments):
            raise CallerError(Code.BAD_REQUEST, message="An argument of a program has no NUL byte.")
        idempotency = _idempotency(request, spec.id, idempotency_key, caller)
        # before all that may have changed since the first time
        if idempotency is not None and (known := await self._store.runs.answered(idempotency)) is not None:
            return known
        if request.workspace is not None:
            await asyncio.to_thread(self.workspaces.folder, request.owner.application, request.workspace)
        await at_the_root(self._vault.answers)
        credential = await self._signin.stored(request.owner, spec.id)
        if credential is None:
            raise CallerError(Code.CREDENTIAL_NOT_FOUND)
        run = await self._store.runs.create(
            NewRun(
                owner=request.owner,
                provider=spec.id,
                credential_id=credential.id,
                arguments=request.arguments,
                terminal=request.terminal,
                held=request.held,
                seconds=seconds,
                node=self._node,
                driver=self._driver,
                asked_by=request.by,
                api_key=request.api_key,
                wait=self._settings.duration("run_wait"),
                start=self._settings.duration("start"),
                given=request.given,
                workspace=request.workspace,
            ),
            at=self._signin.clock(),
            idempotency=idempotency,
            limits=self._limits,
        )
        point(Point.RUN_CREATED)
        _log.info("run created", run=run.id, status=run.status, owner=run.owner.user_id, provider=run.provider)
        return run

    def _seconds(self, asked: int | None) -> int:
        most = int(self._settings.run_s)
        if asked is not None and not 1 <= asked <= most:
            raise CallerError(
                Code.BAD_REQUEST,
                message=f"A run takes between 1 and {most} seconds here.",
                next_step="Ask for fewer, or have the operator raise ANTECHAMBER_RUN_S.",
            )
        return asked or most

    async def get(self, run_id: str) -> Run:
        """Return a run; raises CallerError run_not_found."""
        run = await self._store.runs.get(run_id)
        if run is None:
            raise CallerError(Code.RUN_NOT_FOUND)
        return run

    async def list(self, *, user_id: str | None, application: str | None, limit: int) -> list[Run]:
        """Return runs, the newest first."""
        return await self._store.runs.list(user_id=user_id, application=application, limit=limit)

    async def position(self, run: Run) -> int | None:
        """Return the place of a run that waits for its credential, the first is 1; None when it does not."""
        return await self._store.runs.position(run)

    async def cancel(self, run_id: str) -> Run:
        """End a run; what its tool has written of its credential is stored all the same. Raises run_ended."""
        moved = await self._apply(run_id, RunFact.CANCELLED)
        if moved.decision.act is Act.REFUSE:
            raise CallerError(moved.decision.error or Code.RUN_ENDED)
        return moved.run

    async def caller_gone(self, run_id: str) -> None:
        """End a run that nobody reads any more."""
        await self._apply(run_id, RunFact.CALLER_GONE)

    async def elsewhere(self, run: Run) -> NodeRow | None:
        """Return the other node that a run's machine is on; None where it is on this one."""
        return None if run.node == self._node else await self._store.nodes.get(run.node)

    # -- its terminal ------------------------------------------------------------------------------------------------

    async def ticket(self, run_id: str) -> Ticket:
        """Give a ticket for a run's terminal; raises CallerError run_not_found, run_ended, no_terminal."""
        run = await self.get(run_id)
        if not run.terminal:
            raise CallerError(Code.NO_TERMINAL)
        if run.status is RunStatus.ENDED:
            raise CallerError(Code.RUN_ENDED)
        at = self.clock()
        ticket = Ticket(new_secret(), at + self._settings.duration("ticket"))
        await self._store.access.grant(
            AccessKind.RUN_TICKET, _of_run(run_id, ticket.secret), session_id=None, at=at, expires_at=ticket.expires_at
        )
        return ticket

    async def holds_ticket(self, run_id: str, ticket: Secret) -> bool:
        """Tell whether a ticket is good for that run now, without using it up."""
        right = _of_run(run_id, ticket)
        return await self._store.access.holds(AccessKind.RUN_TICKET, right, session_id=None, at=self.clock())

    async def redeem_ticket(self, run_id: str, ticket: Secret) -> None:
        """Use a ticket up; raises CallerError ticket_not_valid."""
        right = _of_run(run_id, ticket)
        if not await self._store.access.redeem(AccessKind.RUN_TICKET, right, session_id=None, at=self.clock()):
            raise CallerError(Code.TICKET_NOT_VALID)

    # -- what its machine is told, and tells -------------------------------------------------------------------------

    async def job(self, run: Run) -> Mapping[str, object] | None:
        """Return the guest's job, with the credential opened for it; None where its tool has been begun already.

        The audit's line is committed before. Raises what `SignIn.open_credential` does.
        """
        if run.status is not RunStatus.STARTING:
            return None
        spec = self._providers.get(run.provider)
        credential, bundle = await self._signin.open_credential(
            run.owner, run.provider, purpose=Purpose.RUN, by=run.asked_by, api_key=run.api_key
        )
        lease = await self._store.runs.lease(run.id)
        if lease is None or (credential.id, credential.version) != (lease.credential_id, lease.version):
            # a sign-in came between: its version is nobody's lease
            raise MachineError(Code.MACHINE_ENDED, detail="the credential moved on before the run began")
        return spec.run_job(
            bundle,
            run.arguments,
            terminal=run.terminal,
            held=run.held,
            given=run.given,
            folder=None if run.workspace is None else AT,
        )

    async def begun(self, run: Run) -> None:
        """Take it that its tool runs; its time begins."""
        at = self._signin.clock()
        await self._store.runs.apply(run.id, RunFact.BEGUN, at=at, expires_at=at + timedelta(seconds=run.seconds))
        point(Point.RUN_BEGUN)

    async def exited(self, run_id: str, *, code: int, file: str, redacted: bool) -> None:
        """Take it that its tool has ended and that nothing of its credential is left in its machine.

        A tool that was ended by a signal, or left half a file, or one that was not stored, may have renewed its
        credential to no avail.
        """
        await self._store.runs.exited(
            run_id, code=code, redacted=redacted, is_clean=code >= 0 and file == WHOLE, at=self._signin.clock()
        )
        point(Point.RUN_EXITED)

    async def time_out(self, run: Run) -> None:
        """End a run whose state's deadline has come, unless it has moved on since it was read."""
        await self._store.runs.time_out(run.id, at=self._signin.clock(), deadline=run.expires_at)
        point(Point.RUN_MOVED)

    async def ended(self, run_id: str, fact: RunFact, detail: str = "") -> Run:
        """Take it that a run cannot go on, and return it as it is then."""
        return (await self._apply(run_id, fact, detail)).run

    async def renewing(self, run: Run) -> bool:
        """Write down that its tool may be renewing the credential from now on; tell whether it may.

        Raises OperatorError where that cannot be written: then it may not.
        """
        if not await self._store.runs.renewing(run.id, at=self._signin.clock()):
            return False
        point(Point.RENEWAL_WRITTEN)
        return True

    async def write_back(
        self, run: Run, report_id: str, files: Mapping[str, CapturedFile], *, is_renewing: Callable[[], bool]
    ) -> None:
        """Seal and store what its tool made of the credential, as its next version; doing it again changes nothing.

        `is_renewing` tells whether the tool may be in another renewal, which leaves that written down.
        Raises ProviderError where the files are no credential of this provider, or of another account; MachineError
        write_back_refused where the credential has moved on, or the run has it no more. Nothing is stored then.
        """
        spec = self._providers.get(run.provider)
        parsed = spec.parse(files)
        for warning in parsed.warnings:
            _log.warning("the vendor changed its credential file", run=run.id, provider=spec.id, what=warning)
        any_key = False
        for _ in range(_TRIES):
            version = await self._version(run)
            identity = SealIdentity.of(self._store.installation, run.owner, spec.id, run.credential_id, version + 1)
            sealed = await at_the_root(self._vault.seal, parsed.bundle, identity)
            written = await self._store.write_backs.store(
                NewVersion(
                    run_id=run.id,
                    expected_version=version,
                    sealed=sealed,
                    claims=parsed.claims,
                    report_id=report_id,
                    at=self._signin.clock(),
                    is_renewing=is_renewing,
                    any_key=any_key,
                )
            )
            point(Point.WRITTEN_BACK)
            if written.outcome == "key_changed":
                any_key = not await took_named_key(self._store, self._vault)
            elif written.outcome != "conflict":
                _say(run, spec, written)
                return
        raise MachineError(Code.WRITE_BACK_REFUSED, detail="the credential's version moved on at every try")

    async def _version(self, run: Run) -> int:
        lease = await self._store.runs.lease(run.id)
        return 0 if lease is None else lease.version

    async def _apply(self, run_id: str, fact: RunFact, detail: str = "") -> RunMoved:
        moved = await self._store.runs.apply(run_id, fact, at=self._signin.clock(), detail=detail)
        point(Point.RUN_MOVED)
        return moved


def _of_run(run_id: str, ticket: Secret) -> Secret:
    """Return what is hashed of a ticket: it opens that run's terminal and no other."""
    return Secret(f"{run_id}.{ticket.reveal()}")


def _idempotency(request: RunRequest, provider: str, key: str | None, caller: str) -> Idempotency | None:
    if key is None:
        return None
    body = json.dumps(
        [
            request.owner.user_id,
            provider,
            request.arguments,
            request.terminal,
            request.held,
            request.seconds,
            None if request.given is None else request.given.hex(),
            request.workspace,
        ]
    )
    return Idempotency(key, hashlib.sha256(body.encode()).hexdigest(), caller)


def _say(run: Run, spec: ProviderSpec, written: WrittenBack) -> None:
    """Log what became of a write-back; raise where nothing was stored."""
    match written.outcome:
        case "stored" | "repeated":
            if written.credential is not None and written.outcome == "stored":
                version = written.credential.version
                _log.info("credential refreshed", run=run.id, credential=run.credential_id, version=version)
        case "other_account":
            raise ProviderError(Code.OTHER_ACCOUNT, detail=f"{spec.id}: a run's tool wrote another account")
        case outcome:
            raise MachineError(Code.WRITE_BACK_REFUSED, detail=outcome)
