"""Everything that /openapi.json says of both sites, held against the service that says it; see `attack`."""

import asyncio
import logging
from dataclasses import replace

import pytest

from antechamber.model import Actor, Owner
from antechamber.runs import RunRequest
from tests.integration.attack import Known, attack, of_site
from tests.integration.far_tool import FarTool
from tests.integration.web_service import now, running

ANY_NUMBER = {"owner_live": 0, "owner_starts_an_hour": 0, "live": 0, "starts_an_hour": 0, "owner_runs": 0, "runs": 0}
EXAMPLES = 15
PROVIDERS = ["codex", "claude_code", "gemini"]


@pytest.fixture
async def service(tmp_path, caplog):
    # thousands of requests, each with its lines
    caplog.set_level(logging.ERROR)
    async with running(tmp_path, heartbeat_s=0.2, **ANY_NUMBER) as service:
        yield service


async def stocked(service):
    """Fill a service with what there can be.

    Return (Known, what of it is the persons', the cookies of every session that was opened).
    """
    sessions, unopened, over, cookies = [], [], set(), []

    async def opened(user):
        session_id, browser = await service.opened(await service.start(user_id=user))
        sessions.append(session_id)
        cookies.append("; ".join(f"{one.name}={one.value}" for one in browser.cookies.jar))
        return session_id, browser

    async def ready(user):
        session_id, browser = await opened(user)
        await service.ready(session_id)
        assert (await browser.post(f"/api/auth/session/{session_id}/consent", json={})).status_code == 200
        return session_id

    for number in range(4):
        unopened.append((await service.start(user_id=f"new-{number}"))["session_id"])
        await opened(f"opened-{number}")
        await ready(f"ready-{number}")
        captured = await ready(f"captured-{number}")
        await service.capture(captured)
        cancelled, _ = await opened(f"cancelled-{number}")
        await service.signin.cancel(cancelled, by_person=True)
        over.add(cancelled)
    for number in range(4, 10):
        # most of them are deleted on the way
        await service.capture(await ready(f"captured-{number}"))
    await service.store.machines.withdraw(now())
    credentials = [row.id for row in await service.signin.credentials(None)]
    await service.signin.delete_credential(credentials[0], by=Actor.DASHBOARD)
    erasure = await service.signin.owners.erase(Owner("captured-3"), by=Actor.DASHBOARD)
    runners = [row.owner.user_id for row in await service.signin.credentials(None)]
    runs = [run for user in runners for run in await runs_of(service, user)]
    known = Known([*sessions, *unopened], over, credentials, [erasure.erasure.id], PROVIDERS, runs, runners)
    # without a session's cookie its addresses are as unknown to a person as to anybody
    return known, replace(known, sessions=sessions), "; ".join(cookies)


async def runs_of(service, user):
    """Have a run that has ended, one whose tool runs and writes, with a terminal, and one that waits for it."""

    async def asked(**how):
        how = {"terminal": False, "held": False, "by": Actor.OPERATOR_TOKEN, **how}
        return (await service.runs.start(RunRequest(owner=Owner(user), provider="codex", arguments=(), **how))).id

    over = await asked()
    await (await FarTool.begun(service, over)).ends(0)
    working = await asked(terminal=True)
    (await FarTool.begun(service, working)).writes(b"at work")
    return [over, working, await asked()]


@pytest.fixture
async def attacked(service, record_property):
    """Give a function that attacks a site with these headers, and sees to what holds of every attack."""
    described = (await (await service.operator()).get("/openapi.json")).json()
    of_all, of_persons, cookies = await stocked(service)

    async def attacked(site, headers, **how):
        known = of_persons if "Cookie" in headers else of_all
        found = await asyncio.to_thread(attack, described, site.url, headers, known, **how)
        record_property(site.url, found.told())
        assert found.faults == [], f"{found.told()}\n\n" + "\n\n".join(found.faults)
        assert max(found.statuses) < 500, found.told()
        assert found.operations.keys() == labels(described, site.url), "each operation was asked for"
        return found

    return attacked, cookies


def labels(described, url):
    item = of_site(described, url)["paths"].items()
    return {f"{method.upper()} {path}" for path, operations in item for method in operations}


@pytest.mark.timeout(300)
async def test_whatever_the_operator_sends_is_answered_as_it_is_described(service, attacked):
    attack_site, _ = attacked
    # the one header that is required is the right, which `ignored_auth` takes away and this only says that it has
    found = await attack_site(
        service.addresses.dashboard,
        {"Authorization": f"Bearer {service.token}"},
        examples=EXAMPLES,
        without=["missing_required_header"],
    )
    assert sum(found.sent.values()) > 1000
    looked = {label for label in found.operations if label.startswith("GET ")}
    assert looked - found.succeeded() == set(), "nothing was found there"


@pytest.mark.timeout(300)
async def test_whatever_a_person_sends_is_answered_as_it_is_described(service, attacked):
    attack_site, cookies = attacked
    site = service.addresses.sign_in
    # `ignored_auth` cannot take a session's cookie away, whose name it does not know; the next test does
    found = await attack_site(
        site, {"Cookie": cookies, "Origin": site.origin}, examples=EXAMPLES, without=["ignored_auth"], secured=False
    )
    assert sum(found.sent.values()) > 300
    looked = {label for label in found.operations if label.startswith("GET ")}
    assert looked - found.succeeded() == set(), "nothing was found there"


@pytest.mark.timeout(300)
async def test_f046_whatever_is_sent_without_a_right_succeeds_only_where_a_route_is_open(service, attacked):
    attack_site, _ = attacked
    for site in (service.addresses.dashboard, service.addresses.sign_in):
        # which methods a path has is not said to a stranger either
        found = await attack_site(
            site, {"Origin": site.origin}, examples=2, without=["unsupported_method"], secured=False
        )
        assert found.succeeded() == {"GET /healthz", "GET /readyz"}
