"""Two services of one database behind one door: processes with a data directory and a stand-in vendor of their own."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal

import pytest

from antechamber.tasks import cancel_and_wait, spawn
from tests.acceptance import processes
from tests.acceptance.person import Person
from tests.acceptance.service import Service, until
from tests.servers import free_port

pytestmark = [pytest.mark.machine, pytest.mark.timeout(240)]


class Door:
    """What stands before both services, as a proxy does: every connection goes to the one that was chosen last."""

    def __init__(self, port):
        self.port = port
        self.base = f"http://127.0.0.1:{port}"
        self.sign_in_base = f"http://localhost:{port}"
        self._to = None
        self._open = set()

    @contextlib.asynccontextmanager
    async def listening(self):
        servers = [await asyncio.start_server(self._pass_on, host, self.port) for host in ("127.0.0.1", "::1")]
        try:
            yield self
        finally:
            self.lead_to(None)
            for server in servers:
                server.close()
                await server.wait_closed()

    def lead_to(self, service):
        """Let whoever comes from now on reach that service; whoever is connected is cut off."""
        self._to = service
        for writer in self._open:
            writer.transport.abort()

    async def _pass_on(self, reader, writer):
        there = await asyncio.open_connection("127.0.0.1", self._to.port)
        pair = {writer, there[1]}
        self._open |= pair
        try:
            both = {spawn("there", self._copy(reader, there[1])), spawn("back", self._copy(there[0], writer))}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            await cancel_and_wait(*both)
        finally:
            self._open -= pair
            for end in pair:
                end.transport.abort()

    async def _copy(self, reader, writer):
        with contextlib.suppress(OSError):
            while received := await reader.read(65_536):
                writer.write(received)
                await writer.drain()


class Front:
    """The installation as a person sees it: the door's addresses, and the vendor of whoever runs the machine."""

    def __init__(self, door, service):
        self.base, self.sign_in_base, self.token = door.base, door.sign_in_base, service.token
        self.standin = service.standin


@pytest.fixture
async def services(postgres_url):
    """Give the door and the two services."""
    async with contextlib.AsyncExitStack() as stack:
        door = await stack.enter_async_context(Door(free_port()).listening())
        made = []
        for name in ("one", "other"):
            service = Service(
                database_url=postgres_url, dashboard_url=door.base, sign_in_url=door.sign_in_base, node=name
            )
            service._environment["ANTECHAMBER_NODE_URL"] = service.base
            stack.push_async_callback(service.remove)
            if made:
                # on one host, so that each could take the other's machines for its own
                service.run = made[0].run
                service._environment["ANTECHAMBER_RUN_DIR"] = str(service.run)
                service.data.mkdir(mode=0o700)
                for secret in ("key", "operator-token"):
                    shutil.copy(made[0].data / secret, service.data / secret)
            await service.start()
            made.append(service)
        door.lead_to(made[0])
        yield door, *made


async def apart(door, one, other, person):
    """Let the person ask for a sign-in and come to the service that has not got the machine; return both."""
    await person.connect()
    nodes = {node["id"]: node["name"] for node in await one.control.call("nodes.list")}

    async def begun():
        return (await one.show(person.session_id))["machine"]["node"]

    name = nodes[await until(begun, 30, "nobody begins the machine")]
    here, there = (one, other) if name == "one" else (other, one)
    door.lead_to(there)
    person._standin = await here.standin()
    return here, there


async def test_a_person_signs_in_by_the_screen_that_the_other_service_shows(services):
    door, one, other = services
    async with Person(Front(door, one), "codex") as person:
        here, there = await apart(door, one, other, person)
        await person.look()
        await person.sees("email")
        await person.enter(person.email)
        await person.sees("code")
        machine = await here.machine_of(person.session_id)
        await person.from_the_code()
        assert await person.ended() == "completed"
        assert (await there.machine_gone(person.session_id))["state"] == "gone"
        await until(lambda: not machine.left(), 30, f"something is left: {machine.left()}")
        # whoever is asked opens what the other one sealed
        verdict = await there.control.call("credentials.check", provider="codex", user_id=person.user_id)
        assert verdict["accepted"], verdict


async def test_a_service_that_is_killed_leaves_its_machine_to_itself_and_the_other_serves_on(services):
    door, one, other = services
    async with Person(Front(door, one), "codex") as person:
        here, there = await apart(door, one, other, person)
        await person.look()
        await person.sees("email")
        machine = await here.machine_of(person.session_id)
        await here.end(signal.SIGKILL)
        await there.end(signal.SIGTERM)
        await there.start()
        door.lead_to(there)
        assert await person.status() == "awaiting_sign_in"
        assert processes.look(machine.keeper) is not None, "the other service has reclaimed what is not its own"
        await here.start()
        await person.look()
        await person.enter(person.email)
        await person.sees("code")
        await person.from_the_code()
        assert await person.ended() == "completed"
        await here.machine_gone(person.session_id)
        await until(lambda: not machine.left(), 30, f"something is left: {machine.left()}")
