import asyncio
import socket
from datetime import timedelta
from ipaddress import ip_address

import httpx
import pytest

from antechamber.errors import Code, OperatorError
from antechamber.settings import Settings
from antechamber.web.app import WebApp
from antechamber.web.closing import Closing
from antechamber.web.server import listen, serve


def close(sockets):
    for end in sockets:
        end.close()


def _has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as end:
            end.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="this host has no ::1")


@needs_ipv6
def test_on_loopback_both_meanings_of_localhost_are_taken():
    sockets = listen("127.0.0.1", 0)
    try:
        ports = {end.getsockname()[1] for end in sockets}
        assert len(ports) == 1
        assert {end.family for end in sockets} == {socket.AF_INET, socket.AF_INET6}
    finally:
        close(sockets)


def test_f097_unless_it_is_told_otherwise_a_service_listens_on_loopback_alone():
    settings = Settings()
    sockets = listen(settings.bind, 0)
    try:
        assert sockets
        assert all(ip_address(end.getsockname()[0]).is_loopback for end in sockets)
        assert settings.metrics_address is None
    finally:
        close(sockets)


def test_a_port_that_is_taken_is_said_with_its_number():
    sockets = listen("127.0.0.1", 0)
    port = sockets[0].getsockname()[1]
    try:
        with pytest.raises(OperatorError) as caught:
            listen("127.0.0.1", port)
        assert caught.value.code is Code.MISCONFIGURED
        assert str(port) in caught.value.message
    finally:
        close(sockets)


@needs_ipv6
def test_a_stranger_on_the_other_loopback_address_is_not_left_to_take_the_links():
    stranger = socket.socket(socket.AF_INET6)
    with stranger:
        stranger.bind(("::1", 0))
        stranger.listen()
        with pytest.raises(OperatorError, match="::1"):
            listen("127.0.0.1", stranger.getsockname()[1])


async def test_a_server_answers_once_it_is_returned_and_its_sockets_close_with_it():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    sockets = listen("127.0.0.1", 0)
    server = await serve(WebApp(app, None, Closing()), sockets)
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"http://127.0.0.1:{server.port}/")
        assert answer.status_code == 204
        assert "server" not in answer.headers
    await server.stop()
    await server.stop()
    assert server.task.done()
    assert all(end.fileno() == -1 for end in sockets)


async def test_what_is_under_way_is_told_and_waited_for():
    closing = Closing()
    told = asyncio.Event()

    async def stream():
        with closing.under_way(told.set):
            await told.wait()

    streaming = asyncio.get_running_loop().create_task(stream())
    while not closing.count:
        await asyncio.wait({streaming}, timeout=0.01)
    assert await closing.end(timedelta(seconds=5))
    assert streaming.done() or not closing.count
    await streaming


async def test_what_does_not_end_is_not_waited_for_beyond_its_time():
    closing = Closing()
    with closing.under_way(lambda: None):
        assert await closing.end(timedelta(seconds=0.01)) is False
    assert closing.count == 0


async def test_what_begins_after_the_end_is_told_at_once():
    closing = Closing()
    assert await closing.end(timedelta(seconds=1))
    told = []
    with closing.under_way(lambda: told.append(1)):
        assert told == [1]
