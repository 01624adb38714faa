from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest
from tests.unit.egress_scene import PUBLIC, Remote, Scene, Zone

from antechamber.egress import Policy
from antechamber.testing.scripted_guest import client_hello

HELLO = client_hello("some.dev")


async def echo(reader, writer):
    while chunk := await reader.read(65536):
        writer.write(chunk)
        await writer.drain()
    writer.close()


@pytest.fixture
async def remote(tmp_path):
    async with Remote(tmp_path / "remote", echo) as server:
        yield server


async def test_f092_a_public_name_is_resolved_and_reached_at_the_address_that_was_checked(remote):
    scene = Scene(Zone(some_dev=[PUBLIC]), remote)
    assert await scene.word("resolve", "some.dev") == "ok"
    guest = await scene.ask("connect", "Some.dev.")
    assert await guest.answer() == "ok"
    guest.writer.write(HELLO)
    assert await guest.reader.readexactly(len(HELLO)) == HELLO
    await guest.close()
    assert remote.connected == [(PUBLIC, 443)]
    (use,) = scene.egress.uses()
    assert (use.name, use.port, use.connections) == ("some.dev", 443, 1)
    assert (use.bytes_out, use.bytes_in) == (len(HELLO), len(HELLO))


async def test_bytes_sent_with_the_request_are_not_lost(remote):
    scene = Scene(Zone(some_dev=[PUBLIC]), remote)
    guest = await scene.dial(b'{"op": "connect", "name": "some.dev", "port": 80}\nearly')
    assert await guest.answer() == "ok"
    assert await guest.reader.readexactly(5) == b"early"
    await guest.close()


NOT_PUBLIC = [
    *(["10.0.0.1"], ["172.31.255.255"], ["192.168.0.1"], ["169.254.169.254"], ["127.0.0.1", "::1"]),
    *(["0.0.0.0"], ["0.1.2.3"], ["100.64.0.1"], ["100.100.100.200"], ["100.127.255.255"], ["127.255.255.254"]),  # noqa: S104 - asked for
    *(["224.0.0.1"], ["239.255.255.255"], ["240.0.0.1"], ["255.255.255.255"], ["192.88.99.1"], ["198.18.0.1"]),
    *(["::"], ["fc00::1"], ["fd00:ec2::254"], ["fe80::1"], ["fe80::1%eth0"], ["fec0::1"], ["ff02::1"], ["ff0e::1"]),
    *(["::ffff:127.0.0.1"], ["::ffff:192.168.0.1"], ["::ffff:100.64.0.1"], ["::ffff:169.254.169.254"]),
    *(["::10.0.0.1"], ["::ffff:0:10.0.0.1"], ["2600::5efe:10.0.0.1"], ["2600::200:5efe:127.0.0.1"]),
    *(["64:ff9b::a00:1"], ["64:ff9b::8.8.8.8"], ["64:ff9b:1::7f00:1"], ["64:ff9b:1:a00:0:100::"]),
    *(["2002:7f00:1::"], ["2002:a9fe:a9fe::1"], ["2002:808:808::1"], ["2001:0:808:808::f5ff:fffe"], ["2001::1"]),
]


@pytest.mark.parametrize("addresses", NOT_PUBLIC, ids=",".join)
@pytest.mark.parametrize("op", ["resolve", "connect"])
async def test_a_name_that_leads_to_no_public_address_does_not_exist_for_the_guest(remote, addresses, op):
    scene = Scene(Zone(some_dev=addresses), remote)
    assert await scene.word(op, "some.dev") == "nxdomain"
    assert remote.connected == []
    assert set(scene.rows().values()) == {"refused"}


async def test_of_several_addresses_only_the_public_ones_are_connected_to(remote):
    scene = Scene(Zone(some_dev=["10.0.0.1", PUBLIC, "127.0.0.1"]), remote)
    guest = await scene.ask("connect", "some.dev")
    assert await guest.answer() == "ok"
    await guest.close()
    assert remote.connected == [(PUBLIC, 443)]


async def test_a_name_that_rebinds_between_look_up_and_connection_is_refused(remote):
    zone = Zone(some_dev=[PUBLIC])
    scene = Scene(zone, remote)
    assert await scene.word("resolve", "some.dev") == "ok"
    zone.table["some.dev"] = ["192.168.0.1"]
    assert await scene.word("connect", "some.dev") == "nxdomain"
    assert remote.connected == []


@pytest.mark.parametrize(
    "name",
    [
        *("metadata.google.internal", "localhost", "LocalHost.", "router.lan", "bücher.de", "\ud800.dev", ""),
        *("127.0.0.1", "127.0.0.1.", "127.1", "0x7f.1", "0177.0.0.1", "2130706433", "8.8.8.8", "::1", "[2600::1]"),
        *("%6cocalhost", "some%2edev", "some.dev\0", "some.dev:443", "a" * 900 + ".dev"),
    ],
)
async def test_a_name_that_is_not_public_is_not_even_looked_up(remote, name):
    zone = Zone()
    scene = Scene(zone, remote)
    assert await scene.word("resolve", name) == "nxdomain"
    assert await scene.word("connect", name) == "nxdomain"
    assert zone.asked == []


@pytest.mark.parametrize("port", [1, 22, 25, 53, 81, 442, 444, 3128, 8080, 8443, 65535])
async def test_other_ports_than_80_and_443_are_refused(remote, port):
    scene = Scene(Zone(some_dev=[PUBLIC]), remote)
    assert await scene.word("connect", "some.dev", port) == "nxdomain"
    assert remote.connected == []
    assert scene.rows() == {("some.dev", port): "refused"}


async def test_of_an_answer_without_end_only_the_first_addresses_are_looked_at_its_families_in_turn(remote):
    private, public = [f"10.0.{third}.{last}" for third in range(16) for last in range(256)], ["2600::1", "2600::2"]
    zone = Zone(flood_dev=[*private, PUBLIC], turns_dev=[*private, *public, PUBLIC], own_dev=[PUBLIC] * 5000)
    looks = []

    def own():
        looks.append(1)
        return frozenset()

    scene = Scene(zone, remote, policy=Policy(own_addresses=own))
    assert await scene.word("connect", "flood.dev") == "nxdomain"
    assert looks == []
    assert await scene.word("connect", "turns.dev") == "ok"
    assert remote.connected == [(public[0], 443)]
    assert await scene.word("resolve", "own.dev") == "ok"
    assert len(looks) == 2, "one for each request"


async def test_background_hosts_are_refused_and_shown_apart(remote):
    zone = Zone(update_some_dev=[PUBLIC], clients2_some_dev=[PUBLIC])
    scene = Scene(zone, remote, background=["update.some.dev", "*.clients2.some.dev", "clients2.some.dev"])
    assert await scene.word("resolve", "update.some.dev") == "nxdomain"
    assert await scene.word("connect", "clients2.some.dev") == "nxdomain"
    assert zone.asked == []
    assert scene.rows() == {("update.some.dev", 0): "background", ("clients2.some.dev", 443): "background"}


async def test_an_unknown_name_and_a_failing_resolver_are_passed_on(remote):
    scene = Scene(Zone(broken_dev="servfail"), remote)
    assert await scene.word("resolve", "typo.dev") == "nxdomain"
    assert await scene.word("resolve", "broken.dev") == "servfail"
    assert scene.rows() == {("typo.dev", 0): "unknown_name", ("broken.dev", 0): "unknown_name"}


async def test_a_resolver_that_does_not_answer_is_a_failing_one(remote):
    scene = Scene(Zone(slow_dev=asyncio.Event()), remote, lookup=timedelta(milliseconds=20))
    assert await scene.word("resolve", "slow.dev") == "servfail"


async def test_a_server_that_cannot_be_reached_is_a_failed_connection(tmp_path):
    remote = Remote(tmp_path / "nobody", echo)
    scene = Scene(Zone(some_dev=[PUBLIC]), remote)
    assert await scene.word("connect", "some.dev") == "failed"


async def test_the_addresses_of_this_services_public_name_are_refused_under_any_name(remote):
    zone = Zone(broker_some_dev=["1.1.1.1"], alias_dev=["1.1.1.1"], other_dev=[PUBLIC])
    policy = Policy(own_addresses=frozenset, public_urls=["https://broker.some.dev"])
    scene = Scene(zone, remote, policy=policy)
    assert await scene.word("connect", "broker.some.dev") == "nxdomain"
    assert await scene.word("connect", "alias.dev") == "nxdomain"
    assert await scene.word("resolve", "other.dev") == "ok"


async def test_while_this_services_public_name_cannot_be_resolved_nothing_is_reached(remote):
    zone = Zone(broker_some_dev="servfail", other_dev=[PUBLIC])
    scene = Scene(zone, remote, policy=Policy(own_addresses=frozenset, public_urls=["https://broker.some.dev"]))
    assert await scene.word("connect", "other.dev") == "servfail"
    zone.table["broker.some.dev"] = ["1.1.1.1"]
    assert await scene.word("resolve", "other.dev") == "ok"


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"GET / HTTP/1.1\r\n",
        b"[]\n",
        b'{"op": "listen", "name": "some.dev"}\n',
        b'{"op": "connect", "name": "some.dev"}\n',
        b'{"op": "connect", "name": "some.dev", "port": "443"}\n',
        b'{"op": "connect", "name": "some.dev", "port": true}\n',
        b'{"op": "connect", "name": "some.dev", "port": 70000}\n',
        b'{"op": "resolve", "name": ["some.dev"]}\n',
        b'{"op": "resolve", "name": "' + b"a" * 2000 + b'"}\n',
        b"[" * 900 + b"\n",
        b"\xff\xfe\n",
        b"x" * 200_000,
    ],
)
async def test_a_request_that_is_not_of_the_protocol_ends_its_stream_without_an_answer(remote, line):
    scene = Scene(Zone(some_dev=[PUBLIC]), remote)
    guest = await scene.dial(line)
    with pytest.raises((ConnectionError, EOFError)):
        raise EOFError if not await guest.reader.read(1) else AssertionError
    await guest.close()
    assert scene.egress.uses() == []


async def test_a_guest_that_says_nothing_is_hung_up_on(remote):
    scene = Scene(Zone(), remote, request=timedelta(milliseconds=20))
    guest = await scene.dial()
    await guest.task
    await guest.close()


async def test_a_guest_that_says_it_byte_by_byte_without_end_is_hung_up_on_in_time_and_others_are_served(remote):
    scene = Scene(Zone(some_dev=[PUBLIC]), remote, request=timedelta(seconds=0.3))
    loop = asyncio.get_running_loop()
    slow, began = await scene.dial(), loop.time()
    while not slow.task.done() and loop.time() < began + 20:
        slow.writer.write(b"[")
        await asyncio.wait({slow.task}, timeout=0.02)
        assert await scene.word("resolve", "some.dev") == "ok"
    assert 0.29 <= loop.time() - began < 10
    await slow.close()


async def test_what_the_guest_calls_a_name_is_shown_clean(remote):
    scene = Scene(Zone(), remote)
    await scene.word("resolve", "\x1b[31mred\u202e.dev eyJhbGciOiJIUzI1NiJ9.x")
    ((name, _),) = scene.rows()
    assert name == "red.dev [removed]"


async def test_closing_breaks_what_is_open_refuses_the_rest_and_tells_the_last_counters(remote):
    scene = Scene(Zone(some_dev=[PUBLIC]), remote)
    guest = await scene.ask("connect", "some.dev")
    assert await guest.answer() == "ok"
    guest.writer.write(HELLO)
    await guest.reader.readexactly(len(HELLO))
    scene.egress.close()
    await guest.task
    assert json.dumps([use.bytes_in for use in scene.told]) == f"[{len(HELLO)}]"
    late = await scene.ask("resolve", "some.dev")
    await late.task
    assert scene.rows() == {("some.dev", 443): "allowed"}
    await guest.close()
    await late.close()


async def test_closing_after_a_while_lets_what_is_open_go_on_until_then(remote):
    scene = Scene(Zone(some_dev=[PUBLIC]), remote)
    guest = await scene.ask("connect", "some.dev")
    assert await guest.answer() == "ok"
    scene.egress.close(timedelta(hours=1))
    guest.writer.write(HELLO)
    assert await guest.reader.readexactly(len(HELLO)) == HELLO
    scene.egress.close(timedelta(milliseconds=10))
    await guest.task
    await guest.close()


async def test_f069k_the_page_has_opened_when_bytes_came_back_from_a_sign_in_host(remote):
    scene = Scene(Zone(login_some_dev=[PUBLIC]), remote)
    carried = asyncio.get_running_loop().create_task(scene.egress.carried(["*.some.dev"]))
    guest = await scene.ask("connect", "login.some.dev")
    assert await guest.answer() == "ok"
    assert not carried.done()
    guest.writer.write(client_hello("login.some.dev"))
    await carried
    await guest.close()
