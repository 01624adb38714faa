from __future__ import annotations

import asyncio
import socket
from datetime import timedelta
from ipaddress import ip_address

from antechamber.egress.dial import dial, interleaved
from antechamber.machine import Stream

V4 = [ip_address(f"8.8.8.{last}") for last in range(1, 12)]
V6 = [ip_address(f"2600::{last}") for last in range(1, 4)]
LONG = timedelta(seconds=30)


async def connected() -> Stream:
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    theirs.close()
    return Stream(reader, writer)


class Addresses:
    """A connector by list: what is neither good nor bad never answers."""

    def __init__(self, *, good=(), bad=()):
        self.good, self.bad = set(map(str, good)), set(map(str, bad))
        self.tried: list[str] = []
        self.gave: list[Stream] = []
        self.cancelled: list[str] = []

    async def connect(self, address, port, name):
        self.tried.append(address)
        if address in self.bad:
            raise ConnectionRefusedError
        if address in self.good:
            self.gave.append(await connected())
            return self.gave[-1]
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.append(address)
            raise


def test_f093_families_take_turns_and_the_first_ones_family_begins():
    assert interleaved([*V6[:2], *V4[:3]]) == [V6[0], V4[0], V6[1], V4[1], V4[2]]
    assert interleaved([]) == []


async def test_the_first_address_that_answers_is_taken_and_no_other_is_tried():
    connector = Addresses(good=V4)
    won = await dial(connector, V4, 443, "some.dev", within=LONG)
    assert won is connector.gave[0]
    assert connector.tried == [str(V4[0])]
    won.writer.close()


async def test_after_a_refusal_the_next_address_is_tried_at_once():
    connector = Addresses(good=[V4[1]], bad=[V6[0]])
    won = await dial(connector, [V6[0], V4[1]], 443, "some.dev", within=LONG)
    assert won is not None
    assert connector.tried == [str(V6[0]), str(V4[1])]
    won.writer.close()


async def test_a_silent_address_does_not_hold_up_the_next_and_is_given_up():
    connector = Addresses(good=[V4[0]])
    won = await dial(connector, [V6[0], V4[0]], 443, "some.dev", within=LONG)
    assert won is connector.gave[0]
    await asyncio.sleep(0)
    assert connector.cancelled == [str(V6[0])]
    won.writer.close()


async def test_no_address_that_answers_is_no_connection():
    assert await dial(Addresses(bad=V4[:2]), V4[:2], 443, "some.dev", within=LONG) is None
    assert await dial(Addresses(), V4[:1], 443, "some.dev", within=timedelta(seconds=0.05)) is None


async def test_only_so_many_addresses_of_a_name_are_tried():
    connector = Addresses(bad=V4)
    await dial(connector, V4, 443, "some.dev", within=LONG)
    assert connector.tried == [str(address) for address in V4[:8]]


async def test_a_connection_that_nobody_waits_for_any_more_is_closed():
    class Late:
        def __init__(self):
            self.stream: Stream | None = None
            self.asked = asyncio.Event()
            self.made = asyncio.Event()

        async def connect(self, address, port, name):
            self.asked.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.stream = await connected()  # it was made in the same moment
                self.made.set()
            return self.stream

    late = Late()
    task = asyncio.get_running_loop().create_task(dial(late, V4[:1], 443, "some.dev", within=LONG))
    await late.asked.wait()
    task.cancel()
    await asyncio.wait({task})
    await late.made.wait()
    await late.stream.writer.wait_closed()
