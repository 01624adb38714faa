from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
import structlog
from tests.unit.egress_scene import PUBLIC, Remote, Scene, Zone

STEP = 0.2


@pytest.fixture
async def silent(tmp_path):
    """A server that takes everything and says nothing."""

    async def swallow(reader, writer):
        while await reader.read(65536):
            pass
        writer.close()

    async with Remote(tmp_path / "remote", swallow) as server:
        yield server


async def timed(scene, op, name, port=443):
    loop = asyncio.get_running_loop()
    began = loop.time()
    return await scene.word(op, name, port), loop.time() - began


async def test_every_no_looks_and_takes_the_same(silent):
    zone = Zone(inside_dev=["10.0.0.1"], some_dev=[PUBLIC], denied_dev=[PUBLIC])
    scene = Scene(zone, silent, background=["denied.dev"], uniform=timedelta(seconds=STEP))
    asked = [
        ("resolve", "unknown.dev", 443),
        ("resolve", "inside.dev", 443),
        ("resolve", "denied.dev", 443),
        ("resolve", "localhost", 443),
        ("connect", "inside.dev", 443),
        ("connect", "some.dev", 22),
        ("connect", "10.0.0.1", 443),
    ]
    answers = await asyncio.gather(*(timed(scene, *request) for request in asked))
    assert {word for word, _ in answers} == {"nxdomain"}
    for _, seconds in answers:
        assert STEP - 0.01 <= seconds < 2 * STEP
    word, seconds = await timed(scene, "resolve", "some.dev")
    assert word == "ok"
    assert seconds < STEP


async def test_connections_at_once_are_limited_and_free_again_when_they_end(silent):
    scene = Scene(Zone(some_dev=[PUBLIC]), silent, connections=2)
    open_ones = [await scene.ask("connect", "some.dev") for _ in range(2)]
    assert [await guest.answer() for guest in open_ones] == ["ok", "ok"]
    assert await scene.word("connect", "some.dev") == "nxdomain"
    await open_ones[0].close()
    guest = await scene.ask("connect", "some.dev")
    assert await guest.answer() == "ok"
    await guest.close()
    await open_ones[1].close()


async def test_far_too_many_streams_are_hung_up_on_at_once(silent):
    scene = Scene(Zone(some_dev=[PUBLIC]), silent, connections=1, uniform=timedelta(hours=1))
    held = [await scene.ask("resolve", "unknown.dev") for _ in range(2)]
    late = await scene.ask("resolve", "unknown.dev")
    await late.task
    scene.egress.close()
    for guest in (*held, late):
        await guest.close()


async def test_names_are_limited(silent):
    zone = Zone(**{f"n{number}_dev": [PUBLIC] for number in range(5)})
    scene = Scene(zone, silent, names=3)
    words = [await scene.word("resolve", f"n{number}.dev") for number in range(5)]
    assert words == ["ok", "ok", "ok", "nxdomain", "nxdomain"]
    assert await scene.word("resolve", "n0.dev") == "ok"


async def test_the_rate_of_requests_is_limited(silent):
    scene = Scene(Zone(some_dev=[PUBLIC]), silent, rate=1)
    words = [await scene.word("resolve", "some.dev") for _ in range(12)]
    assert words[:10] == ["ok"] * 10
    assert "nxdomain" in words[10:]


async def test_bytes_are_limited_over_all_connections(silent):
    scene = Scene(Zone(some_dev=[PUBLIC]), silent, total_bytes=100_000)
    guest = await scene.ask("connect", "some.dev", 80)
    assert await guest.answer() == "ok"
    guest.writer.write(bytes(200_000))
    await guest.task
    assert await scene.word("connect", "some.dev") == "nxdomain"
    await guest.close()


async def test_a_session_has_only_so_many_look_ups_at_once_and_the_others_wait(silent):
    answer = asyncio.Event()
    zone = Zone(**{f"n{number}_dev": answer for number in range(5)})
    scene = Scene(zone, silent, lookups=2)
    guests = [await scene.ask("resolve", f"n{number}.dev") for number in range(5)]
    await zone.began.acquire()
    await zone.began.acquire()
    assert await scene.word("resolve", "localhost") == "nxdomain"  # another request has passed meanwhile
    assert len(zone.asked) == 2
    answer.set()
    assert [await guest.answer() for guest in guests] == ["nxdomain"] * 5
    for guest in guests:
        await guest.close()


async def test_look_ups_that_found_no_place_in_time_are_not_made_later(silent):
    answer = asyncio.Event()
    zone = Zone(**{f"n{number}_dev": answer for number in range(40)})
    scene = Scene(zone, silent, lookups=2, lookup=timedelta(milliseconds=50))
    words = await asyncio.gather(*(scene.word("resolve", f"n{number}.dev") for number in range(40)))
    assert words == ["servfail"] * 40
    answer.set()
    assert await scene.word("resolve", "unknown.dev") == "nxdomain"
    assert len(zone.asked) == 2 + 1


async def test_a_machine_that_asks_wrongly_without_end_does_not_fill_the_log(silent):
    scene = Scene(Zone(some_dev=[PUBLIC]), silent, lines=1)
    with structlog.testing.capture_logs() as logged:
        for _ in range(100):
            guest = await scene.dial(b"nonsense\n")
            await guest.close()
            assert await scene.word("connect", "some.dev", 22) == "nxdomain"
    assert {line["event"] for line in logged} == {"a guest sent a bad egress request", "egress refused"}
    assert 10 <= len(logged) < 100
    assert scene.rows() == {("some.dev", 22): "refused"}
