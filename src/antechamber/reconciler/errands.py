"""What a machine's reports mean: a person's sign-in, or the check of a stored credential."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from antechamber.egress import matches
from antechamber.errors import AntechamberError, Code, MachineError, OperatorError, VaultError
from antechamber.guest.protocol import FileState, ReportKind, Trouble
from antechamber.lifecycle import MachineFact, SessionFact
from antechamber.link import Ack, Refuse
from antechamber.log import get_logger, told
from antechamber.model import GuestText, Reason, SessionStatus
from antechamber.points import Point, point
from antechamber.providers import CapturedFile
from antechamber.screen import wait_for_paint

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from antechamber.link import Reply, Report
    from antechamber.model import MachineRow
    from antechamber.providers import ProviderSpec
    from antechamber.reconciler.live import LiveMachine
    from antechamber.settings import Settings
    from antechamber.signin import SignIn
    from antechamber.store import Store

_log = get_logger("errand")

AWAY: Final = frozenset({Code.STORE_UNAVAILABLE, Code.ROOT_UNAVAILABLE})
"""What ends by itself, and until then costs no sign-in."""

_REASON_OF_TROUBLE: Final[dict[Trouble, Reason]] = {
    Trouble.NO_PAGE: Reason.CLI_NEVER_OPENED_PAGE,
    Trouble.CLI_NOT_FOUND: Reason.PROVIDER_UNAVAILABLE,
    Trouble.SCREEN: Reason.MACHINE_BROKEN,
    Trouble.BROWSER: Reason.MACHINE_BROKEN,
    Trouble.JOB: Reason.GUEST_VERSION,
    Trouble.AGENT: Reason.MACHINE_BROKEN,
}
_REASON_OF_BREACH: Final[dict[Code, Reason]] = {
    Code.GUEST_VERSION: Reason.GUEST_VERSION,
    Code.SANDBOX_OFF: Reason.SANDBOX_OFF,
}
_LINES_KEPT: Final = 20
_LOADS_AGAIN_S: Final = 1.0
"""How long a page that was asked for before a restart of the service may take to load again, unless it needs not."""


async def taken(
    report: Report,
    take: Callable[[Report], Awaitable[Reply]],
    fail: Callable[[str], Awaitable[None]],
    pause_s: float,
) -> Reply:
    """Take a report, as soon as database and root key are there.

    While one of them is away the guest gets no answer, and so keeps its report: a refusal would make it forget. One
    that we fail to take, by a fault of our own, would fail again whenever it is sent: `fail` is told so.
    """
    while True:
        try:
            return await take(report)
        except OperatorError as error:
            if error.code not in AWAY:
                raise
            _log.warning("a report waits", kind=report.kind.value, code=error.code)
        except AntechamberError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the guest would send the report for ever
            _log.error("a report could not be taken", kind=report.kind.value, **told(error))
            await fail(f"the report {report.kind.value} could not be taken: {type(error).__name__}")
            return Refuse(Code.INTERNAL)
        await asyncio.sleep(pause_s)


def files_of(report: Report) -> dict[str, CapturedFile]:
    """Return the files of a report `credential`."""
    return {
        name: CapturedFile(base64.b64decode(file["content"]), file["mtime_ns"], new=file["new"])
        for name, file in report.body["files"].items()
    }


class SignInErrand:
    """One session's sign-in in its machine."""

    def __init__(
        self, session_id: str, row: MachineRow, spec: ProviderSpec, *, store: Store, signin: SignIn, settings: Settings
    ) -> None:
        """Bind the errand to its session; the session comes from here, never from a message."""
        self._session_id = session_id
        self._row = row
        self.spec = spec
        self._store = store
        self._signin = signin
        self._settings = settings
        self._now = signin.clock
        self._confined = asyncio.Event()
        self._logged_run = 0
        self.job: Mapping[str, Any] = spec.job()

    async def on_report(self, report: Report) -> Reply:
        """Take one report; what must not be lost is in the database before this returns.

        A report that we fail to take, by a fault of our own, fails the session: sent again it would fail again.
        """
        is_credential = report.kind is ReportKind.CREDENTIAL
        reason = Reason.CREDENTIAL_UNUSABLE if is_credential else Reason.MACHINE_BROKEN
        return await taken(report, self._take, partial(self._failed, reason), self._settings.sweep_s)

    async def _take(self, report: Report) -> Reply:
        match report.kind:
            case ReportKind.CREDENTIAL:
                return await self._capture(report)
            case ReportKind.SCREEN_UP:
                await self._note(SessionFact.SCREEN_UP)
            case ReportKind.PAGE_ASKED:
                await self._note(SessionFact.PAGE_ASKED)
            case ReportKind.TERMINAL_ASKS:
                at = self._now()
                await self._store.sessions.apply(
                    self._session_id,
                    SessionFact.TERMINAL_ASKS,
                    at=at,
                    expires_at=at + self._settings.duration("sign_in"),
                )
            case ReportKind.BROWSER_SANDBOX:
                if report.body["ok"]:
                    await self._note(SessionFact.BROWSER_CONFINED)
                    self._confined.set()
                else:
                    await self.on_broken(MachineError(Code.SANDBOX_OFF, detail=report.body["detail"]))
            case ReportKind.CLI_ENDED:
                await self._cli_ended(report.body)
            case ReportKind.TROUBLE:
                what = Trouble(report.body["what"])
                await self._failed(_REASON_OF_TROUBLE[what], f"{what.value}: {report.body['detail']}")
            case _:
                _log.debug("report", session=self._session_id, kind=report.kind.value)
        return Ack()

    async def on_broken(self, error: MachineError) -> None:
        """Fail the session: its machine cannot be trusted any more."""
        await self._failed(_REASON_OF_BREACH.get(error.code, Reason.GUEST_PROTOCOL), f"{error.code}: {error.detail}")

    async def become_ready(self, live: LiveMachine) -> None:
        """Wait until the person can begin: guest there, screen painted with the vendor's page, browser confined."""
        facts = {event.kind for event in await self._signin.events(self._session_id)}
        if SessionFact.BROWSER_CONFINED in facts:
            self._confined.set()
        opened = asyncio.Event()
        asked = SessionFact.PAGE_ASKED in facts
        async with asyncio.TaskGroup() as group:
            group.create_task(self._page_opened(live, opened, asked=asked), name=f"page of {self._session_id}")
            stream = await live.open_screen()
            try:
                await wait_for_paint(stream, opened)
            finally:
                stream.writer.close()
            await self._confined.wait()
        at = self._now()
        await self._store.machines.apply(self._row.id, MachineFact.READY, incarnation=self._row.incarnation, at=at)
        point(Point.MACHINE_READY)
        await self._store.sessions.apply(
            self._session_id, SessionFact.MACHINE_READY, at=at, expires_at=at + self._settings.duration("nobody_came")
        )
        point(Point.SESSION_READY)

    async def _page_opened(self, live: LiveMachine, opened: asyncio.Event, *, asked: bool) -> None:
        # what egress counted before a restart of the service is in the database, unless it was killed before that
        past = await self._signin.destinations(self._session_id)
        if not any(use.bytes_in and matches(use.name, self.spec.sign_in_hosts) for use in past):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOADS_AGAIN_S if asked else None):
                    await live.egress.carried(self.spec.sign_in_hosts)
        opened.set()

    async def _capture(self, report: Report) -> Reply:
        try:
            await self._signin.capture(self._session_id, self._row.id, report.id, files_of(report))
        except OperatorError:
            raise  # nothing that the guest did
        except AntechamberError as error:
            _log.warning("capture refused", session=self._session_id, code=error.code, detail=error.detail)
            if isinstance(error, VaultError):
                # the guest does not send a refused report again: without an end of its own the session would wait
                await self._failed(Reason.CREDENTIAL_UNUSABLE, f"{error.code}: {error.detail}")
            return Refuse(error.code)
        return Ack()

    async def _cli_ended(self, body: Mapping[str, Any]) -> None:
        lines = [GuestText(str(line)) for line in body["lines"]][-_LINES_KEPT:]
        unusable = FileState(body["file"]) is not FileState.NONE
        reason = Reason.CREDENTIAL_UNUSABLE if unusable else Reason.CLI_ENDED
        detail = f"exit code {body['code']}, file {body['file']}: " + " | ".join(lines)
        session = await self._signin.cli_ended(
            self._session_id, body["attempt"], lines, reason=reason, detail=detail, code=body["code"]
        )
        if self._logged_run < body["attempt"] == session.attempt:
            # once for each run: a machine may say it as often as it likes
            self._logged_run = session.attempt
            _log.warning("the tool ended without a sign-in", session=session.id, status=session.status, detail=detail)

    async def _note(self, fact: SessionFact) -> None:
        await self._store.sessions.apply(self._session_id, fact, at=self._now())

    async def _failed(self, reason: Reason, detail: str, **fields: int) -> None:
        moved = await self._store.sessions.apply(
            self._session_id, SessionFact.SIGN_IN_FAILED, at=self._now(), reason=reason, detail=detail, fields=fields
        )
        if moved.session.status is SessionStatus.FAILED and moved.decision.before is not SessionStatus.FAILED:
            _log.warning("sign-in failed", session=self._session_id, reason=reason, detail=detail)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a provider's own offline check said of a stored credential; never the credential."""

    accepted: bool
    by: str
    detail: str = ""
    answered: bool = False
    """Whether the tool answered at all: a check that broke down says nothing about the credential."""


class CheckErrand:
    """Asks the CLI in a machine without screen and egress whether it takes a credential."""

    def __init__(self, spec: ProviderSpec, bundle: bytes) -> None:
        """Prepare the check of that bundle."""
        self.spec = spec
        self._by = spec.offline_check
        self.job: Mapping[str, Any] = spec.check_job(bundle)
        self.verdict: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()

    async def on_report(self, report: Report) -> Reply:
        """Take the verdict."""
        if report.kind is ReportKind.CHECKED:
            lines = " | ".join(GuestText(str(line)) for line in report.body["lines"])
            detail = f"exit code {report.body['code']}: {lines}"
            self._settle(Verdict(bool(report.body["accepted"]), self._by, detail, answered=True))
        elif report.kind is ReportKind.TROUBLE:
            self._settle(Verdict(accepted=False, by=self._by, detail=f"{report.body['what']}: {report.body['detail']}"))
        return Ack()

    async def on_broken(self, error: MachineError) -> None:
        """Give up."""
        self._settle(Verdict(accepted=False, by=self._by, detail=f"{error.code}: {error.detail}"))

    def ended(self, detail: str) -> None:
        """Take it that the machine has ended."""
        self._settle(Verdict(accepted=False, by=self._by, detail=detail))

    def _settle(self, verdict: Verdict) -> None:
        with contextlib.suppress(asyncio.InvalidStateError):
            self.verdict.set_result(verdict)
