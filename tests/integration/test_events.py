import asyncio
import json
from datetime import timedelta

import pytest

from antechamber.web.events import STREAMS_AT_ONCE
from tests.integration.web_service import error_of, running


@pytest.fixture
async def service(site):
    async with running(site.folder, database_url=site.url) as service:
        yield service


class Stream:
    """Reads an event stream message by message: (name, id, data).

    Without the place in the line, which comes when a second has passed: `test_waiting.py` looks at it.
    """

    def __init__(self, answer):
        self.answer = answer
        self.comments = 0
        self._lines = answer.aiter_lines()

    async def next(self):
        name, number, data = None, None, None
        async for line in self._lines:
            if line.startswith(":"):
                self.comments += 1
            elif line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("id: "):
                number = int(line.removeprefix("id: "))
            elif line.startswith("data: "):
                data = json.loads(line.removeprefix("data: "))
            elif not line and data is not None:
                if name != "waiting":
                    return name, number, data
                name, number, data = None, None, None
        return None

    async def rest(self):
        messages = []
        while (message := await self.next()) is not None:
            messages.append(message)
        return messages


def kinds(messages):
    return [data["kind"] if name is None else f"<{name}>" for name, _, data in messages]


async def test_f088_the_stream_tells_every_event_once_in_order_and_ends_with_the_session(service):
    session_id, browser = await service.opened()
    async with browser.stream("GET", f"/api/auth/session/{session_id}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        stream = Stream(answer)
        first = [await stream.next(), await stream.next()]
        assert kinds(first) == ["created", "opened"]
        await service.ready(session_id)
        await service.capture(session_id)
        rest = await stream.rest()
    assert kinds(rest) == ["machine_booting", "machine_ready", "captured", "<end>"]
    numbers = [number for _, number, _ in [*first, *rest][:-1]]
    assert numbers == sorted(set(numbers))
    assert rest[2][2]["after"] == "completed"
    assert "DUMMY" not in json.dumps(rest)


async def test_a_browser_that_comes_back_goes_on_after_the_last_event_it_had(service):
    session_id, browser = await service.opened()
    path = f"/api/auth/session/{session_id}/events"
    async with browser.stream("GET", path) as answer:
        stream = Stream(answer)
        _, seen, _ = await stream.next()
    await service.signin.cancel(session_id, by_person=True)
    async with browser.stream("GET", path, headers={"Last-Event-ID": str(seen)}) as answer:
        messages = await Stream(answer).rest()
    assert kinds(messages) == ["opened", "cancelled", "<end>"]
    last = messages[-2][1]
    answer = await browser.get(path, headers={"Last-Event-ID": str(last)})
    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize("last", ["", "x", "-1", "1e3", "9" * 40])
async def test_a_last_event_id_that_is_no_number_begins_at_the_beginning(service, last):
    started = await service.start()
    operator = await service.operator()
    await operator.post(f"/api/auth/session/{started['session_id']}/cancel")
    async with operator.stream(
        "GET", f"/api/auth/session/{started['session_id']}/events", headers={"Last-Event-ID": last}
    ) as answer:
        assert kinds(await Stream(answer).rest()) == ["created", "cancelled", "<end>"]


async def test_a_stream_without_news_has_heartbeats(site):
    async with running(site.folder, database_url=site.url, heartbeat_s=0.05, sweep_s=10) as service:
        session_id, browser = await service.opened()
        async with browser.stream("GET", f"/api/auth/session/{session_id}/events") as answer:
            stream = Stream(answer)
            await stream.next()
            await stream.next()
            reading = asyncio.get_running_loop().create_task(stream.rest())
            while stream.comments < 3:
                await asyncio.wait({reading}, timeout=0.02)
            await service.signin.cancel(session_id, by_person=True)
            assert kinds(await reading) == ["cancelled", "<end>"]


async def test_the_fifth_stream_of_a_session_ends_the_first(service):
    session_id, browser = await service.opened()
    path = f"/api/auth/session/{session_id}/events"
    async with browser.stream("GET", path) as answer:
        first = Stream(answer)
        await first.next()
        others = []
        for _ in range(4):
            others.append(Stream(await service.cleanup.enter_async_context(browser.stream("GET", path))))
            await others[-1].next()
        assert kinds(await first.rest()) == ["opened", "<replaced>"]


async def test_of_many_streams_begun_at_once_only_the_newest_four_stay_open(service):
    session_id, browser = await service.opened()
    path = f"/api/auth/session/{session_id}/events"

    async def last_word():
        async with browser.stream("GET", path) as answer:
            return (await Stream(answer).rest())[-1][0]

    loop = asyncio.get_running_loop()
    under_way = {loop.create_task(last_word()) for _ in range(60)}
    replaced = set()
    while len(under_way) > STREAMS_AT_ONCE:
        done, under_way = await asyncio.wait(under_way, timeout=20, return_when=asyncio.FIRST_COMPLETED)
        assert done
        replaced |= done
    assert {task.result() for task in replaced} == {"replaced"}
    while service.app.closing.count > STREAMS_AT_ONCE:
        await asyncio.wait(under_way, timeout=0.02)
    assert service.app.closing.count == STREAMS_AT_ONCE
    await service.signin.cancel(session_id, by_person=True)
    assert await asyncio.gather(*under_way) == ["end"] * STREAMS_AT_ONCE


async def test_the_browser_that_opened_the_session_is_told_when_another_one_tries(service):
    started = await service.start()
    session_id, browser = await service.opened(started)
    async with browser.stream("GET", f"/api/auth/session/{session_id}/events") as answer:
        stream = Stream(answer)
        await stream.next()
        await stream.next()
        other = await service.browser()
        code = started["sign_in_url"].partition("#")[2]
        refused = await other.post(f"/api/auth/session/{session_id}/open", json={"code": code})
        assert error_of(refused) == (403, "link_not_valid")
        assert await stream.next() == ("notice", None, {"notice": "link_refused"})


async def test_a_stopping_service_ends_streams_and_long_polls_first(service):
    session_id, browser = await service.opened()
    operator = await service.operator()
    async with browser.stream("GET", f"/api/auth/session/{session_id}/events") as answer:
        stream = Stream(answer)
        await stream.next()
        polling = asyncio.get_running_loop().create_task(
            operator.get(f"/api/auth/session/{session_id}", params={"wait": 60})
        )
        # two are under way: the stream, and soon the poll
        while service.app.closing.count < 2:
            await asyncio.wait({polling}, timeout=0.02)
        begun = asyncio.get_running_loop().time()
        await service.server.stop(timedelta(seconds=5))
        assert asyncio.get_running_loop().time() - begun < 3
        assert kinds(await stream.rest()) == ["opened", "<closing>"]
        assert (await polling).json()["status"] == "pending"


async def test_a_long_poll_answers_when_the_session_changes(service):
    session_id, browser = await service.opened()
    operator = await service.operator()
    path = f"/api/auth/session/{session_id}"
    polls = [
        asyncio.get_running_loop().create_task(client.get(path, params={"wait": 30})) for client in (operator, browser)
    ]
    while service.app.closing.count < 2:
        await asyncio.wait(polls, timeout=0.02)
    await service.signin.consent(session_id)
    for answer in await asyncio.gather(*polls):
        assert answer.json()["consented_at"]


async def test_a_change_that_no_hint_told_is_found_by_the_slow_look(service):
    session_id, _ = await service.opened()
    operator = await service.operator()
    poll = asyncio.get_running_loop().create_task(operator.get(f"/api/auth/session/{session_id}", params={"wait": 30}))
    while service.app.closing.count < 1:
        await asyncio.wait({poll}, timeout=0.02)
    # another service on the same database would tell nobody here
    service.store.changes._watchers.clear()
    await service.signin.cancel(session_id, by_person=False)
    assert (await poll).json()["status"] == "cancelled"


async def test_a_long_poll_of_an_ended_session_waits_for_its_machine_a_second_at_most(service):
    session_id, _ = await service.opened()
    await service.signin.cancel(session_id, by_person=False)
    operator = await service.operator()
    begun = asyncio.get_running_loop().time()
    answer = await operator.get(f"/api/auth/session/{session_id}", params={"wait": 60})
    assert answer.json()["status"] == "cancelled"
    assert asyncio.get_running_loop().time() - begun < 5


async def test_f110_a_client_that_goes_away_leaves_nothing_under_way(service):
    session_id, browser = await service.opened()
    async with browser.stream("GET", f"/api/auth/session/{session_id}/events") as answer:
        await Stream(answer).next()
        assert service.app.closing.count == 1
    while service.app.closing.count:
        await asyncio.wait({asyncio.get_running_loop().create_task(service.signin.session(session_id))})
    assert service.app.closing.closed is False
