"""Everything but web and real machines: store, vault, use cases, reconciler, scripted machines, an echoing world."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

from antechamber.drivers.scripted import ScriptedDriver, ScriptedHost
from antechamber.egress import Policy, Resolution, World
from antechamber.guest.protocol import EgressAnswer, ReportKind
from antechamber.machine import Stream
from antechamber.metrics import Metrics
from antechamber.model import IdPrefix, Owner, new_id
from antechamber.nodes import Node
from antechamber.providers import Providers
from antechamber.reconciler import Reconciler
from antechamber.runs import Runs
from antechamber.settings import Settings
from antechamber.signin import SignIn, StartRequest, now
from antechamber.store import Several, Store
from antechamber.testing.scripted_guest import LinkEnd, SignInGuest
from antechamber.tracing import Tracing
from antechamber.vault import Vault, at_the_root, roots_of
from tests.providers.samples import CODEX

BUILD = "a build of the tests"
PAGE_HOST = "auth.openai.com"
WHOLE = {"credential": json.dumps(CODEX).encode()}
ADA = Owner("ada")


class OneAddress:
    async def resolve(self, name):
        return Resolution(EgressAnswer.OK, (ip_address("9.9.9.9"),))


class Echo:
    """Connects to nothing: whatever is sent comes back."""

    def __init__(self):
        self._open = set()

    async def connect(self, address, port, name):
        ours, theirs = socket.socketpair()
        server = await asyncio.open_connection(sock=theirs)
        self._open.add(asyncio.get_running_loop().create_task(self._echo(*server)))
        return Stream(*await asyncio.open_connection(sock=ours))

    async def _echo(self, reader, writer):
        with contextlib.suppress(OSError):
            while received := await reader.read(65536):
                writer.write(received)
        writer.close()

    async def close(self):
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)


class CheckGuest:
    """A machine that checks a credential and says what its tool did: accept it, refuse it, or break down (None)."""

    def __init__(self, *, accepted=True):
        self._accepted = accepted

    async def __call__(self, guest):
        link = LinkEnd(guest, build=BUILD)
        speaking = asyncio.get_running_loop().create_task(link.run())
        try:
            job = await link.job
            assert job["kind"] == "check"
            if self._accepted is None:
                await link.report(ReportKind.TROUBLE, {"what": "cli_not_found", "detail": "there is no tool"})
            else:
                body = {"accepted": self._accepted, "code": int(not self._accepted), "lines": ["DUMMY"]}
                await link.report(ReportKind.CHECKED, body)
            while await link.orders.get() != "stop":
                pass
            return 0
        finally:
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)


class SlowGuest(SignInGuest):
    """Does nothing until its gate is open."""

    def __init__(self):
        super().__init__(build=BUILD, page_host=PAGE_HOST)
        self.gate = asyncio.Event()

    async def __call__(self, guest):
        await self.gate.wait()
        return await super().__call__(guest)


async def told(capsys, *words):
    """Wait until the log has had all these words; return what it had."""
    said = ""
    while not all(word in said for word in words):
        said += "".join(capsys.readouterr())
        await asyncio.sleep(0.05)
    return said


async def erased(store, erasure_id):
    """Wait until an erasure has finished, and return it."""
    with store.changes.watch("erasures") as changed:
        async with asyncio.timeout(30):
            while (found := await store.erasures.get(erasure_id)).finished_at is None:
                await changed.wait(0.5)
    return found


class Clock:
    """The service's clock, which an operator, NTP or a machine that was asleep can set."""

    def __init__(self):
        self.ahead = timedelta(0)

    def __call__(self):
        return now() + self.ahead

    def ns(self):
        """What the files of a machine on this host have."""
        return int(self().timestamp() * 1e9)


class Scene:
    """One installation; `restart` is a service that was stopped and started again."""

    def __init__(self, folder, settings):
        self.folder = folder
        self.clock = Clock()
        self.settings = settings
        self.guests = asyncio.Queue()
        self.make_guest = lambda: SignInGuest(build=BUILD, page_host=PAGE_HOST, clock_ns=self.clock.ns)
        self.host = ScriptedHost(self._script)
        self.connector = Echo()
        self.providers = Providers.load()
        self.node_id = new_id(IdPrefix.NODE)
        self.build = BUILD
        """The service's; another one from now on is an upgrade."""

    async def _script(self, guest):
        program = self.make_guest()
        await self.guests.put(program)
        return await program(guest)

    async def open_store(self):
        """Open all that serves no machine."""
        self.metrics = Metrics(spec.id for spec in self.providers.all())
        url = self.settings.database_url or f"sqlite+aiosqlite:///{self.folder}/scene.db"
        self.tracing = Tracing.of(self.settings, {})
        observer = Several(self.metrics, *([self.tracing] if self.tracing else []))
        self.store = await Store.open(url, world="demo", observer=observer)
        if self.tracing is not None:
            self.tracing.start(self.store)
        known = await self.store.key_id()
        roots = roots_of(self.settings, self.folder / "key")
        has_rows = await self.store.has_sealed_rows()
        self.vault = await at_the_root(lambda: Vault.of(roots, known_key_id=known, has_rows=has_rows))
        if known is None:
            await self.store.set_key_id(self.vault.key_id)
        self.signin = SignIn(
            store=self.store,
            vault=self.vault,
            providers=self.providers,
            settings=self.settings,
            driver="scripted",
            require=lambda spec: None,
            clock=self.clock,
        )

    async def open(self):
        await self.open_store()
        self.node = Node(self.store, self.node_id, name=self.node_id, url=None, clock=self.clock)
        await self.node.join()
        self.runs = Runs(
            store=self.store,
            vault=self.vault,
            signin=self.signin,
            providers=self.providers,
            settings=self.settings,
            driver="scripted",
            node=self.node_id,
        )
        self.reconciler = Reconciler(
            store=self.store,
            node=self.node,
            signin=self.signin,
            runs=self.runs,
            providers=self.providers,
            driver=ScriptedDriver(self.host),
            world=World("demo", OneAddress(), self.connector),
            policy=Policy(own_addresses=frozenset),
            settings=self.settings,
            guest=Path("/nonexistent"),
            build=self.build,
            installed={spec.id: () for spec in self.providers.all()},
            metrics=self.metrics,
        )
        await self.reconciler.start()

    async def close(self):
        await self.reconciler.close()
        if self.tracing is not None:
            await self.tracing.close()
        await self.store.close()

    async def restart(self):
        await self.close()
        await self.open()

    async def end(self):
        await self.close()
        await self.host.close()
        await self.connector.close()

    async def start(self, *, traceparent=None, **changes):
        started = await self.signin.start(
            StartRequest(**{"user_id": "ada", "provider": "codex", **changes}),
            idempotency_key=None,
            caller="test",
            traceparent=traceparent,
        )
        return started.session

    async def until(self, session_id, *statuses):
        """Wait until the session has one of these statuses."""
        with self.store.changes.watch(f"session:{session_id}") as changed:
            while (session := await self.signin.session(session_id)).status not in statuses:
                assert not session.status.terminal, f"{session.status} {session.reason} {session.detail}"
                await changed.wait(0.5)
        return session

    async def machine_ended(self, session_id):
        """Wait until nothing of the session's machine is left."""
        while True:
            row = await self.signin.machine(session_id)
            if row.state.ended and not self.reconciler.live.attendants.get(row.id):
                return row
            with self.store.changes.watch("machines", f"session:{session_id}") as changed:
                await changed.wait(0.2)

    async def awaiting(self, **changes):
        """Return a session that waits for its person, and its machine's guest."""
        session = await self.start(**changes)
        guest = await self.guests.get()
        return await self.until(session.id, "awaiting_sign_in"), guest

    async def kinds(self, session_id):
        return [event.kind for event in await self.signin.events(session_id)]


@contextlib.asynccontextmanager
async def scene(folder, **settings):
    quick = {
        "sweep_s": 0.2,
        "grace_completed_s": 0.3,
        "grace_failed_s": 0.2,
        "last_look_s": 0.5,
        "stop_s": 2,
        "start_s": 20,
    }
    opened = Scene(folder, Settings(**{"world": "demo", **quick, **settings}))
    await opened.open()
    try:
        yield opened
    finally:
        await opened.end()
