from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import textwrap
import threading

import pytest

from antechamber.egress import DirectConnector, SystemResolver, real_world
from antechamber.guest.protocol import EgressAnswer
from antechamber.tasks import cancel_and_wait, spawn

SPACE = ["unshare", "--mount", "--net", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]

IN_THE_SPACE = """
import asyncio, socket, struct, threading
from antechamber.egress import SystemResolver

TABLE = {"public.dev": "8.8.8.8", "listed.dev": "8.8.4.4", "short.search.dev": "1.1.1.1"}
TABLE |= {"empty.dev": None, "broken.dev": 2}

def serve(server):
    while True:
        question, sender = server.recvfrom(512)
        labels, at = [], 12
        while question[at]:
            labels.append(question[at + 1 : at + 1 + question[at]].decode())
            at += 1 + question[at]
        found = TABLE.get(".".join(labels), 3)
        kind = question[at + 2]
        code = found if isinstance(found, int) else 0
        record = b""
        if isinstance(found, str) and kind == 1:
            record = struct.pack(">HHHIH", 0xC00C, 1, 1, 1, 4) + socket.inet_aton(found)
        head = question[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, 1 if record else 0, 0, 0)
        server.sendto(head + question[12 : at + 5] + record, sender)

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
threading.Thread(target=serve, args=(server,), daemon=True).start()

async def main():
    resolver = SystemResolver()
    for name in ("public.dev", "listed.dev", "short", "hostsonly.dev", "empty.dev", "broken.dev", "unknown.dev"):
        found = await resolver.resolve(name)
        print(name, found.answer.value, *found.addresses)

asyncio.run(main())
"""


def test_the_systems_resolver_asks_dns_alone_without_search_list_and_hosts_file(tmp_path):
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\nsearch search.dev\noptions timeout:1 attempts:1\n")
    (tmp_path / "hosts").write_text("9.9.9.9 listed.dev hostsonly.dev short\n")
    (tmp_path / "nsswitch.conf").write_text("hosts: files dns\n")
    (tmp_path / "look.py").write_text(textwrap.dedent(IN_THE_SPACE))
    binds = " && ".join(
        f"mount --bind {tmp_path / name} /etc/{name}" for name in ("resolv.conf", "hosts", "nsswitch.conf")
    )
    script = f"ip link set lo up && {binds} && exec {sys.executable} {tmp_path / 'look.py'}"
    probe = subprocess.run([*SPACE, "true"], check=False, capture_output=True, text=True)
    if probe.returncode:
        pytest.skip(f"no namespaces here: {probe.stderr}")
    told = subprocess.run([*SPACE, "sh", "-c", script], check=True, capture_output=True, text=True, timeout=60).stdout
    assert told.splitlines() == [
        "public.dev ok 8.8.8.8",
        "listed.dev ok 8.8.4.4",
        "short nxdomain",
        "hostsonly.dev nxdomain",
        "empty.dev nxdomain",
        "broken.dev servfail",
        "unknown.dev nxdomain",
    ]


async def test_look_ups_that_nobody_waits_for_any_more_keep_their_threads_and_so_their_places(monkeypatch):
    answer = threading.Event()

    def slow(*_: object, **__: object) -> list[object]:
        answer.wait()
        return []

    def threads() -> int:
        return sum(thread.name == "resolve" for thread in threading.enumerate())

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    resolver = SystemResolver()
    before = threads()
    try:
        first = [spawn("first", resolver.resolve(f"n{number}.dev")) for number in range(100)]
        await asyncio.sleep(0)
        most = threads() - before
        assert most < 100
        await cancel_and_wait(*first)
        second = [spawn("second", resolver.resolve(f"n{number}.dev")) for number in range(10)]
        for _ in range(3):
            await asyncio.sleep(0)
        assert threads() - before == most
    finally:
        answer.set()
    assert [found.addresses for found in await asyncio.gather(*second)] == [()] * 10


async def test_where_there_is_no_thread_for_a_look_up_the_resolver_fails_and_goes_on(monkeypatch):
    resolver = SystemResolver()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", _no_thread)
        for _ in range(100):
            assert (await resolver.resolve("some.dev")).answer is EgressAnswer.SERVFAIL
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
    assert (await resolver.resolve("some.dev")).answer is EgressAnswer.OK


def _no_thread(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


async def test_the_connector_connects_to_an_address_and_takes_no_name():
    async def hello(_, writer):
        writer.write(b"hello")
        writer.close()

    server = await asyncio.start_server(hello, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    stream = await DirectConnector().connect("127.0.0.1", port, "some.dev")
    assert await stream.reader.read() == b"hello"
    stream.writer.close()
    with pytest.raises(ValueError, match="localhost"):
        await DirectConnector().connect("localhost", port, "some.dev")
    server.close()
    await server.wait_closed()
    with pytest.raises(ConnectionRefusedError):
        await DirectConnector().connect("127.0.0.1", port, "some.dev")


def test_the_real_world_adds_no_trust():
    world = real_world()
    assert world.name == "serve"
    assert world.trust_anchors == ()
