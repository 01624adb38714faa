"""Every state that the pages can be in, and how one comes there; tests that must hold everywhere go through them.

A state is a view (`body[data-view]`) with its variant and with what has been opened over it, by the element's id.
`test_accessibility.py` compares the list with what the pages themselves say that there is.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from antechamber.credential_life import CredentialFact
from antechamber.lifecycle import MachineFact, SessionFact
from antechamber.model import ApiScope, GuestText, IdPrefix, Owner, Reason, new_id
from antechamber.runs import RunRequest
from antechamber.signin import StartRequest
from tests.browser.conftest import view
from tests.integration.far_tool import FarTool
from tests.integration.web_service import now
from tests.opening import BY
from tests.providers.samples import CLAUDE_CODE, CODEX

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.browser.conftest import Person

STATES: dict[str, State] = {}
REASON_OF = {
    SessionFact.SIGN_IN_FAILED: Reason.CLI_ENDED,
    SessionFact.CANCELLED: Reason.CANCELLED_BY_PERSON,
    SessionFact.TIME_RAN_OUT: Reason.SIGN_IN_TIMED_OUT,
}
LONG = "a purpose with averyveryverylongwordthatdoesnotfitinanarrowwindow" * 2


@dataclass(frozen=True)
class State:
    """One state of one page: `reach` takes a person and a way to more of them, and returns the page in it."""

    page: str
    view: str
    variant: str
    opened: frozenset[str]
    reach: Callable[[Person, Callable[..., Awaitable[Person]]], Awaitable[object]]

    @property
    def name(self) -> str:
        return " ".join(filter(None, (self.page, self.view, self.variant, *sorted(self.opened))))

    async def enter(self, person, people):
        """Return the page once it is in this state."""
        page = await self.reach(person, people)
        await page.locator(f"body[data-view={self.view}][data-variant='{self.variant}']").wait_for()
        for opened in self.opened:
            await page.locator(f"#{opened}").wait_for()
        return page


def state(page, view, variant="", *opened):
    """Enter the function into the list, as the way to that state."""

    def enter(reach):
        made = State(page, view, variant, frozenset(opened), reach)
        assert made.name not in STATES, made.name
        STATES[made.name] = made
        return reach

    return enter


async def end(person, session_id, fact):
    await person.service.store.sessions.apply(session_id, fact, at=now(), reason=REASON_OF.get(fact))


async def refuse(page, path, status, code, *, next_step="Do something else."):
    """Have the service answer that path with an error from now on."""
    error = {"code": code, "message": "It was refused.", "next": next_step, "retryable": False}

    async def answer(route):
        await route.fulfill(status=status, content_type="application/json", body=json.dumps({"error": error}))

    await page.route(path, answer)


# -- the sign-in page ------------------------------------------------------------------------------------------------


@state("sign_in", "opening")
async def opening(person, people):
    started = await person.service.start()
    page = await person.page()
    await page.route("**/api/**", lambda route: None)
    await page.goto(started["sign_in_url"])
    return page


@state("sign_in", "closed", "used")
async def used(person, people):
    started = await person.service.start()
    await view(await (await people()).page(started["sign_in_url"]), "consent")
    return await person.page(started["sign_in_url"])


@state("sign_in", "closed", "browser")
async def another_browser(person, people):
    started = await person.service.start()
    return await person.page(started["sign_in_url"].partition("#")[0])


@state("sign_in", "closed", "missing")
async def missing(person, people):
    return await person.page(f"{person.service.addresses.sign_in.url}/s/nonsense")


@state("sign_in", "closed", "offline")
async def offline(person, people):
    page = await person.page()
    await page.route("**/api/**", lambda route: route.abort())
    await page.goto(f"{person.service.addresses.sign_in.url}/s/{new_id(IdPrefix.SESSION)}")
    return page


@state("sign_in", "closed", "application")
async def application_gone(person, people):
    _, started = await asked_by_an_application(person)
    for one in await person.service.signin.applications.list():
        await person.service.signin.applications.change(one.id, {"disabled": True})
    return await person.page(started["sign_in_url"])


@state("sign_in", "closed", "odd")
async def odd(person, people):
    page = await person.page()
    await refuse(page, "**/api/**", 500, "internal")
    await page.goto(f"{person.service.addresses.sign_in.url}/s/{new_id(IdPrefix.SESSION)}")
    return page


async def asked_by_an_application(person, bind_url="http://localhost:9/acme", name="Acme Builds"):
    """Return (client, what it was answered) of an application that has asked for a sign-in of a user of its own."""
    _, client = await person.service.application(*ApiScope, name=name, bind_url=bind_url)
    body = {"user_id": "ann", "provider": "codex", "purpose": LONG}
    return client, (await client.post("/api/auth/session", json=body)).json()


async def stays(route):
    """Answer with nothing, so that the page stays as it is when it sends its person on."""
    await route.fulfill(status=204)


@state("sign_in", "binding", "going")
async def sent_to_the_application(person, people):
    _, started = await asked_by_an_application(person)
    page = await person.page()
    await page.route("**/acme?**", stays)
    await page.goto(started["sign_in_url"])
    return page


@state("sign_in", "binding")
async def come_back_unbound(person, people):
    _, started = await asked_by_an_application(person)
    page = await person.page()
    await page.route("**/acme?**", stays)
    await page.goto(started["sign_in_url"])
    await view(page, "binding")
    again = await person.page()
    await again.goto(started["sign_in_url"].partition("#")[0])
    return again


async def allow_reveal(person):
    """Let what is stored for the tool of these pages be given out in plain text."""
    await person.service.signin.revealing.allow("codex", date(2026, 1, 31), by=BY)


@state("sign_in", "consent")
async def consent(person, people):
    await allow_reveal(person)
    return (await person.sign_in(purpose=LONG, display_name="Ada", return_url="https://app.example.com/tools"))[1]


@state("sign_in", "consent", "", "cancel")
async def declining(person, people):
    page = await consent(person, people)
    await page.get_by_role("button", name="Do not sign in").click()
    return page


@state("sign_in", "consent", "", "cancel", "cancel-trouble")
async def cannot_cancel(person, people):
    page = await declining(person, people)
    await refuse(page, "**/cancel", 503, "store_unavailable")
    await page.get_by_role("button", name="Stop the sign-in").click()
    return page


@state("sign_in", "consent", "", "notice")
async def noticed(person, people):
    started = await person.service.start()
    page = await person.page(started["sign_in_url"])
    await view(page, "consent")
    await (await people()).page(started["sign_in_url"])
    return page


async def boot(person, session_id):
    """Have a node begin the session's machine."""
    await person.service.store.sessions.apply(session_id, SessionFact.MACHINE_BOOTING, at=now())


@state("sign_in", "starting")
async def starting(person, people):
    session_id, page = await person.sign_in()
    await boot(person, session_id)
    await page.get_by_role("button", name="Agree").click()
    return page


@state("sign_in", "starting", "waiting")
async def in_line(person, people):
    for number in range(2):
        await person.service.start(user_id=f"before{number}")
    _, page = await person.sign_in()
    await page.get_by_role("button", name="Agree").click()
    await page.get_by_text("You are number 3 in the line.").first.wait_for()
    return page


@state("sign_in", "starting", "slow")
async def starting_slowly(person, people):
    started = await person.service.start()
    await boot(person, started["session_id"])
    page = await person.page()
    await page.clock.install()
    await page.goto(started["sign_in_url"])
    await page.get_by_role("button", name="Agree").click()
    await view(page, "starting")
    await page.clock.run_for(16_000)
    return page


@state("sign_in", "screen")
async def screen(person, people):
    _, page, _ = await person.at_screen()
    return page


@state("sign_in", "screen", "", "paste-panel")
async def sending_text(person, people):
    page = await screen(person, people)
    await page.get_by_role("button", name="Text").click()
    return page


@state("sign_in", "screen", "", "details-panel")
async def details(person, people):
    session_id, page, _ = await person.at_screen()
    for name, verdict in (("auth.openai.com", "allowed"), ("update.googleapis.com", "background")):
        await person.service.store.destinations.record(
            session_id, name, 443, verdict, bytes_out=900, bytes_in=1_234_567, connections=2, at=now()
        )
    await page.get_by_role("button", name="Details").click()
    await page.get_by_text("auth.openai.com").wait_for()
    return page


@state("sign_in", "screen", "", "lost")
async def lost(person, people):
    _, page, far = await person.at_screen()
    person.service.stage.ready = False
    await far.end()
    await page.get_by_role("heading", name="The connection to the screen was lost").wait_for()
    return page


@state("sign_in", "screen", "", "live")
async def typing_on_a_phone(person, people):
    phone = await people(
        width=390, height=844, has_touch=True, is_mobile=True, reduced_motion="reduce", **person.options
    )
    page = await screen(phone, people)
    await page.get_by_role("button", name="Keyboard").tap()
    return page


@state("sign_in", "screen", "", "terminal-panel")
async def terminal(person, people):
    _, page, _ = await person.at_screen()
    await page.get_by_role("button", name="Details").click()
    await page.get_by_role("button", name="Show what the tool writes").click()
    view_of_it, _said = await person.service.stage.terminals.get()
    output = base64.b64encode(b"Which \x1b[1maccount\x1b[0m?\r\n> ").decode()
    view_of_it.put({"type": "terminal", "viewer": 1, "output": output, "fresh": True, "writable": True})
    await page.get_by_text("You can type here.").wait_for()
    return page


@state("sign_in", "screen", "", "paste-panel", "by-hand")
async def copying_by_hand(person, people):
    await person.context.add_init_script("delete Navigator.prototype.clipboard")
    _, page, far = await person.at_screen()
    far.copies("from the machine")
    await page.get_by_role("button", name="Text").click()
    await page.get_by_role("button", name="Copy from the browser").click()
    return page


async def given_up(person):
    """Return the page of a sign-in whose tool gave up."""
    session_id, page, _ = await person.at_screen()
    await person.service.signin.screen_seen(session_id)
    said = [GuestText("Login failed: access_denied")]
    await person.service.signin.cli_ended(session_id, 1, said, reason=Reason.CLI_ENDED, detail="", code=1)
    await view(page, "gaveUp")
    return page


@state("sign_in", "gaveUp")
async def gave_up(person, people):
    return await given_up(person)


@state("sign_in", "gaveUp", "asked")
async def asked_again(person, people):
    page = await given_up(person)
    await page.route("**/again", lambda route: None)
    await page.get_by_role("button", name="Start again").click()
    return page


@state("sign_in", "gaveUp", "trouble")
async def not_started_again(person, people):
    page = await given_up(person)
    await refuse(page, "**/again", 503, "store_unavailable")
    await page.get_by_role("button", name="Start again").click()
    return page


@state("sign_in", "again")
async def starting_again(person, people):
    page = await given_up(person)
    await page.get_by_role("button", name="Start again").click()
    return page


@state("sign_in", "completed")
async def completed(person, people):
    session_id, page, _ = await person.at_screen(return_url="https://app.example.com/tools")
    await person.capture(session_id)
    return page


@state("sign_in", "completed", "yes")
async def confirmed(person, people):
    page = await completed(person, people)
    await allow_reveal(person)
    (stored,) = await person.service.signin.credentials()
    await person.service.signin.revealing.reveal(stored.id, f"The nightly build, {LONG}", by=BY)
    await page.get_by_role("button", name="Yes, that is me").click()
    return page


@state("sign_in", "completed", "deleting")
async def deleting(person, people):
    page = await completed(person, people)
    await page.route("**/reject", lambda route: None)
    await page.get_by_role("button", name="No, delete it").click()
    return page


@state("sign_in", "completed", "deleted")
async def deleted(person, people):
    page = await completed(person, people)
    await page.get_by_role("button", name="No, delete it").click()
    return page


@state("sign_in", "completed", "trouble")
async def not_deleted(person, people):
    page = await completed(person, people)
    await refuse(page, "**/reject", 503, "store_unavailable")
    await page.get_by_role("button", name="No, delete it").click()
    return page


def _ended(ending, fact):
    @state("sign_in", ending)
    async def ended(person, people):
        session_id, page, _ = await person.at_screen(return_url="https://app.example.com/tools")
        await end(person, session_id, fact)
        return page


_ended("failed", SessionFact.SIGN_IN_FAILED)
_ended("cancelled", SessionFact.CANCELLED)
_ended("expired", SessionFact.TIME_RAN_OUT)


# -- where there is no page ------------------------------------------------------------------------------------------


def _fault(kind, address):
    @state("fault", "fault", kind)
    async def fault(person, people):
        addresses = person.service.addresses
        # any name below localhost is this computer to Chromium, and neither site's
        nobodys = addresses.sign_in.url.replace("localhost", "nobody.localhost")
        return await person.page(
            address.format(dashboard=addresses.dashboard.url, sign_in=addresses.sign_in.url, nobodys=nobodys)
        )


_fault("only-sign-ins", "{sign_in}/")
_fault("only-dashboard", "{dashboard}/s/ses_00000000000000000000")
_fault("nobodys", "{nobodys}/")
_fault("nothing", "{dashboard}/nowhere")
_fault("nothing-here", "{sign_in}/nowhere")
_fault("other", "{dashboard}/api/status")
_fault("login", "{dashboard}/login/callback?state=x&error=access_denied")


# -- the dashboard ---------------------------------------------------------------------------------------------------


async def history(person, user_id="me"):
    """Have sign-ins with every end, one that goes on, machines in most states, and a stored credential.

    Return the id of the failed session.
    """
    service = person.service
    ids = {}
    for fact in REASON_OF:
        started = await service.start(user_id=user_id)
        ids[fact] = started["session_id"]
        await machine_of(service, ids[fact], MachineFact.BOOT_BEGAN)
        await service.ready(ids[fact])
        await end(person, ids[fact], fact)
        await machine_of(service, ids[fact], MachineFact.ENDED)
    for _ in range(2):
        started = await service.start(user_id=user_id)
        await machine_of(service, started["session_id"], MachineFact.BOOT_BEGAN)
        await service.ready(started["session_id"])
        await service.capture(started["session_id"])
        await machine_of(service, started["session_id"], MachineFact.READY, MachineFact.STOP_ASKED)
    started = await service.start(user_id="build-farm", provider="gemini", display_name="Ada", purpose=LONG)
    await service.ready(started["session_id"])
    await machine_of(service, started["session_id"], MachineFact.BOOT_BEGAN, MachineFact.READY)
    # too late for both
    for fact in (SessionFact.CANCELLED, SessionFact.OPENED):
        await service.store.sessions.apply(ids[SessionFact.SIGN_IN_FAILED], fact, at=now())
    return ids[SessionFact.SIGN_IN_FAILED]


async def machine_of(service, session_id, *facts):
    """Let facts do to the session's machine what they do."""
    machine = await service.signin.machine(session_id)
    for fact in facts:
        if fact is MachineFact.BOOT_BEGAN:
            await service.begin_machine(session_id)
            continue
        ended = fact is MachineFact.ENDED
        await service.store.machines.apply(
            machine.id,
            fact,
            incarnation=machine.incarnation,
            at=now(),
            exit_code=137 if ended else None,
            detail="the machine's first program was killed by signal 9" if ended else "",
        )


@state("dashboard", "opening")
async def dashboard_opening(person, people):
    page = await person.page()
    await page.route("**/api/**", lambda route: None)
    await page.goto(person.service.addresses.dashboard.url)
    return page


@state("dashboard", "closed")
async def dashboard_closed(person, people):
    return await person.page(person.service.addresses.dashboard.url)


@state("dashboard", "closed", "used")
async def dashboard_used(person, people):
    code = (await person.service.signin.dashboard_link()).reveal()
    url = f"{person.service.addresses.dashboard.url}/#code={code}"
    await view(await (await people()).page(url), "open")
    return await person.page(url)


async def with_an_issuer(page, person):
    """Have the dashboard's page name an issuer by which operators sign in."""

    async def answer(route):
        answered = await route.fetch()
        body = (await answered.text()).replace('data-issuer=""', 'data-issuer="Example & Sons"')
        await route.fulfill(response=answered, body=body)

    await page.route(f"{person.service.addresses.dashboard.url}/", answer)


@state("dashboard", "closed", "issuer")
async def closed_with_an_issuer(person, people):
    page = await person.page()
    await with_an_issuer(page, person)
    await page.goto(person.service.addresses.dashboard.url)
    return page


@state("dashboard", "closed", "issuer-trouble")
async def cannot_log_in(person, people):
    page = await closed_with_an_issuer(person, people)
    await refuse(page, "**/api/dashboard/login", 503, "issuer_unavailable")
    await page.get_by_role("button", name="Sign in with Example & Sons").click()
    return page


@state("dashboard", "open", "connect", "who")
async def logged_in(person, people):
    """Come in as an operator whose name is a long one."""
    page = await person.page()
    await with_an_issuer(page, person)
    named = {"issuer": "https://issuer.example", "subject": "4711", "name": f"{'ann.of.the.operators' * 3}@example.com"}

    async def answer(route):
        answered = await route.fetch()
        await route.fulfill(response=answered, json={**await answered.json(), "operator": named})

    await page.route("**/api/dashboard", answer)
    return await person.dashboard(page=page)


@state("dashboard", "closed", "left")
async def left(person, people):
    page = await logged_in(person, people)
    await page.get_by_role("button", name="Sign out").click()
    return page


def _section(variant, path, *, filled):
    @state("dashboard", "open", variant)
    async def section(person, people):
        await allow_reveal(person)
        failed = await history(person) if filled else ""
        return await person.dashboard(path.format(failed=failed))

    return section


connect = _section("connect", "/", filled=True)
_section("sessions", "/sessions", filled=True)
_section("sessions-none", "/sessions", filled=False)
_section("session", "/sessions/{failed}", filled=True)
_section("session-missing", "/sessions/ses_00000000000000000000", filled=False)
_section("credentials-none", "/credentials", filled=False)
_section("machines", "/machines", filled=True)
_section("machines-none", "/machines", filled=False)
_section("health", "/health", filled=True)


_section("applications-none", "/applications", filled=False)


@state("dashboard", "open", "applications")
async def applications(person, people):
    client, _ = await asked_by_an_application(person)
    await client.get("/api/auth/sessions")
    of = person.service.signin.applications
    other, _ = await person.service.application(ApiScope.SESSIONS_WRITE, name="Acme Unlimited", bind_url=None)
    revoked = await of.add_key(other.id, name="k1", scopes=[ApiScope.ADMIN], lasts=None)
    await of.revoke(revoked.key.id)
    await of.add_key(other.id, name="k2", scopes=[ApiScope.ADMIN], lasts=timedelta(seconds=-1))
    await of.change(other.id, {"disabled": True})
    await of.add("Acme", bind_url=None)
    return await person.dashboard("/applications")


@state("dashboard", "open", "applications", "limits")
async def limiting(person, people):
    page = await applications(person, people)
    await page.get_by_role("button", name="Limits of Acme Builds").click()
    return page


@state("dashboard", "open", "applications", "limits", "limits-trouble")
async def cannot_limit(person, people):
    page = await limiting(person, people)
    await refuse(page, "**/limits", 503, "store_unavailable")
    await page.get_by_role("button", name="Set the limits").click()
    return page


async def stored(service, user_id, *facts, provider="codex", document=CODEX):
    """Have one more sign-in stored and then facts do to the credential what they do; return it as it was stored."""
    started = await service.start(user_id=user_id, provider=provider)
    await service.ready(started["session_id"])
    await service.capture(started["session_id"], document)
    credential = await service.store.credentials.current(Owner(user_id), provider)
    for fact in facts:
        await service.store.statuses.apply(credential.id, fact, at=now())
    return credential


async def stored_each(service):
    """Have a credential of each status, the one that needs nothing first."""
    await stored(service, "me")
    ends_ms = int((now() + timedelta(days=2, hours=1)).timestamp() * 1000)
    ending = {
        "claudeAiOauth": {
            **CLAUDE_CODE["claudeAiOauth"],
            "expiresAt": ends_ms,
            "refreshTokenExpiresAt": ends_ms,
            "subscriptionType": "plus",
        }
    }
    await stored(service, "ada", CredentialFact.EXPIRY_NEAR, provider="claude_code", document=ending)
    await stored(service, "Ada", CredentialFact.SAID_REVOKED)
    await stored(service, "build-farm", CredentialFact.VENDOR_REFUSED)
    gone = await stored(service, "somebody")
    await service.signin.delete_credential(gone.id, by=BY)


@state("dashboard", "open", "credentials")
async def credentials(person, people):
    await stored_each(person.service)
    return await person.dashboard("/credentials")


@state("dashboard", "open", "credential")
async def credential(person, people):
    """Come to the page of a credential that has two versions and was refused by the vendor."""
    await history(person)
    (stored,) = await person.service.signin.credentials("me")
    await person.service.signin.life.say(stored.id, CredentialFact.VENDOR_REFUSED)
    await person.service.start(user_id="me")
    page = await person.dashboard("/credentials")
    await page.get_by_role("link", name="Codex for me").click()
    await page.get_by_text("A sign-in for it is under way.").wait_for()
    return page


@state("dashboard", "open", "credential", "ended")
async def ending_credential(person, people):
    page = await credential(person, people)
    await page.get_by_role("button", name="It was ended there").click()
    return page


@state("dashboard", "open", "credential", "ended", "ended-trouble")
async def cannot_end(person, people):
    page = await ending_credential(person, people)
    await refuse(page, "**/said", 503, "store_unavailable")
    await page.get_by_role("button", name="Yes, it ended").click()
    return page


@state("dashboard", "open", "credential", "delete")
async def deleting_from_its_page(person, people):
    page = await credential(person, people)
    await page.get_by_role("button", name="Delete the credential of Codex").click()
    return page


@state("dashboard", "open", "credential-gone")
async def deleted_credential(person, people):
    await history(person)
    (stored,) = await person.service.signin.credentials("me")
    await person.service.signin.delete_credential(stored.id, by=BY)
    return await person.dashboard(f"/credentials/{stored.id}")


_section("credential-missing", "/credentials/cred_00000000000000000000", filled=False)


async def run_of(person, user_id="me", *arguments, terminal=True):
    """Have a run of codex asked for."""
    owner = Owner(user_id)
    asked = {"arguments": arguments, "terminal": terminal, "held": False, "by": BY}
    return await person.service.runs.start(RunRequest(owner=owner, provider="codex", **asked))


async def runs_of_each(person):
    """Have runs with several ends, one that waits and one whose tool runs."""
    service = person.service
    await stored(service, "me")
    await stored(service, "build-farm")
    for code in (0, 3, -9):
        run = await run_of(person, "me", "exec", terminal=False)
        await (await FarTool.begun(service, run.id)).ends(code, redacted=code == 3)
    run = await run_of(person, "build-farm")
    await service.runs.cancel(run.id)
    run = await run_of(person, "me")
    await FarTool.begun(service, run.id)
    await run_of(person, "me")
    return run


@state("dashboard", "open", "runs")
async def runs(person, people):
    await runs_of_each(person)
    page = await person.dashboard("/runs")
    await page.get_by_text("Number 1 in the line").wait_for()
    return page


_section("runs-none", "/runs", filled=False)


@state("dashboard", "open", "runs-trouble")
async def run_not_started(person, people):
    await stored(person.service, "me")
    page = await person.dashboard("/runs")
    await refuse(page, "**/api/runs", 429, "owner_run_limit")
    await page.get_by_role("button", name="Open a terminal of Codex for me").click()
    return page


async def working(person):
    """Return (page, tool) of a run whose terminal is worked in."""
    await stored(person.service, "me")
    page = await person.dashboard("/runs")
    await page.get_by_role("button", name="Open a terminal of Codex for me").click()
    await page.locator("body[data-variant=run]").wait_for()
    (run,) = await person.service.runs.list(user_id="me", application=None, limit=2)
    tool = await FarTool.begun(person.service, run.id)
    tool.writes(b"\x1b[1mReady\x1b[0m to work.\r\n> ")
    await page.get_by_text("Keys go to the tool.").wait_for()
    return page, tool


@state("dashboard", "open", "run")
async def run(person, people):
    page, _ = await working(person)
    return page


@state("dashboard", "open", "run", "end-run")
async def ending_run(person, people):
    page = await run(person, people)
    await page.get_by_role("button", name="End the run").click()
    return page


@state("dashboard", "open", "run", "end-run", "end-run-trouble")
async def cannot_end_run(person, people):
    page = await ending_run(person, people)
    await refuse(page, "**/cancel", 503, "store_unavailable")
    await page.get_by_role("button", name="End it").click()
    return page


@state("dashboard", "open", "run-ended")
async def run_ended(person, people):
    page, tool = await working(person)
    await tool.ends(3, redacted=True)
    return page


@state("dashboard", "open", "run-trouble")
async def run_not_started_again(person, people):
    page = await run_ended(person, people)
    await refuse(page, "**/api/runs", 409, "credential_not_usable")
    await page.get_by_role("button", name="Start it again").click()
    return page


@state("dashboard", "open", "run-plain")
async def run_without_a_terminal(person, people):
    await stored(person.service, "me")
    started = await run_of(person, "me", "exec", terminal=False)
    return await person.dashboard(f"/runs/{started.id}")


_section("run-missing", "/runs/run_00000000000000000000", filled=False)


@state("dashboard", "open", "health-bad")
async def health_bad(person, people):
    page = await person.page()

    async def answer(route):
        answered = await route.fetch()
        told = await answered.json()
        told["checks"] = [
            {"name": "bubblewrap", "ok": True, "fatal": True, "message": "bubblewrap 0.8.0", "remedy": ""},
            {
                "name": "user namespaces",
                "ok": False,
                "fatal": True,
                "message": "the kernel refuses them: kernel.unprivileged_userns_clone is 0",
                "remedy": "Run `sysctl kernel.unprivileged_userns_clone=1`.",
            },
        ]
        told["folders"] = [
            {"name": "data", "path": "/var/lib/antechamber/demo", "free": 10**9, "total": 10**11, "ok": False}
        ]
        told["database"] = {"reachable": False, "kind": None, "revision": None}
        await route.fulfill(response=answered, json=told)

    await page.route("**/api/status", answer)
    return await person.dashboard("/health", page=page)


@state("dashboard", "open", "loading")
async def loading(person, people):
    page = await person.dashboard()
    await view(page, "open")
    await page.route("**/api/machines*", lambda route: None)
    await page.get_by_role("link", name="Machines").click()
    return page


@state("dashboard", "open", "trouble")
async def trouble(person, people):
    page = await person.dashboard()
    await view(page, "open")
    await refuse(page, "**/api/machines*", 503, "store_unavailable")
    await page.get_by_role("link", name="Machines").click()
    return page


@state("dashboard", "open", "connect-trouble")
async def one_sign_in_too_many(person, people):
    for _ in range(person.service.settings.owner_starts_an_hour):
        started = await person.service.signin.start(StartRequest("me", "gemini"), idempotency_key=None, caller="test")
        await end(person, started.session.id, SessionFact.CANCELLED)
    page = await person.dashboard()
    await page.get_by_role("button", name="Connect Codex").click()
    return page


@state("dashboard", "open", "sessions", "stale")
async def stale(person, people):
    await history(person)
    page = await person.dashboard("/sessions")
    await view(page, "open")
    await page.route("**/api/**", lambda route: route.abort())
    await page.evaluate("dispatchEvent(new Event('online'))")
    return page


@state("dashboard", "open", "sessions", "stop")
async def stopping(person, people):
    await history(person)
    page = await person.dashboard("/sessions")
    await page.get_by_role("button", name="Stop the sign-in to Gemini CLI").click()
    return page


@state("dashboard", "open", "sessions", "stop", "stop-trouble")
async def cannot_stop(person, people):
    page = await stopping(person, people)
    await refuse(page, "**/cancel", 503, "store_unavailable")
    await page.get_by_role("button", name="Stop it").click()
    return page


@state("dashboard", "open", "credentials", "delete")
async def deleting_credential(person, people):
    page = await credentials(person, people)
    await page.get_by_role("button", name="Delete the credential of Codex").first.click()
    return page


@state("dashboard", "open", "credentials", "delete", "delete-trouble")
async def cannot_delete(person, people):
    page = await deleting_credential(person, people)
    await refuse(page, "**/api/credentials/*", 503, "store_unavailable")
    await page.get_by_role("button", name="Delete it").click()
    return page


_section("owner-none", "/owners?user_id=nobody", filled=False)


@state("dashboard", "open", "owner")
async def owner(person, people):
    await history(person)
    page = await person.dashboard("/sessions")
    await page.get_by_role("link", name="Codex for me").first.click()
    await page.get_by_role("link", name="All of me").click()
    return page


@state("dashboard", "open", "owner", "erase")
async def erasing(person, people):
    page = await owner(person, people)
    await page.get_by_role("button", name="Remove everything").click()
    return page


@state("dashboard", "open", "owner", "erase", "erase-trouble")
async def cannot_erase(person, people):
    page = await erasing(person, people)
    await refuse(page, "**/api/owners?*", 503, "store_unavailable")
    await page.get_by_role("button", name="Remove everything of me").click()
    return page


@state("dashboard", "open", "owner-erasing")
async def being_erased(person, people):
    page = await erasing(person, people)
    # no reconciler is here to end the machines, so it waits for them
    await page.get_by_role("button", name="Remove everything of me").click()
    return page
