"""The real app over real sockets, store, vault and providers; only the machine is played, by the test itself."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import httpx

from antechamber.errors import CallerError, Code
from antechamber.lifecycle import SessionFact
from antechamber.link import TerminalView
from antechamber.machine import Capabilities, Stream
from antechamber.metrics import Fixed, Metrics, Scrape
from antechamber.model import IdPrefix, new_id, new_secret
from antechamber.openid import issuer_of
from antechamber.providers import CapturedFile, Providers
from antechamber.runs import Runs
from antechamber.settings import Settings
from antechamber.signin import SignIn
from antechamber.store import Store, file_url
from antechamber.vault import Vault
from antechamber.web import (
    Addresses,
    DriverAbout,
    Measured,
    create_app,
    create_metrics_app,
    listen,
    refusals,
    serve,
)
from tests.providers.samples import CODEX

NODE = "nod_00000000000000000000"
OPERATIONS = {"user_id": "ada", "provider": "codex"}


def now():
    return datetime.now(UTC)


class Stage:
    """What the reconciler's Live is: here the far end of each opened screen is in the test's hand."""

    def __init__(self):
        self.ended = {}
        self.screens = asyncio.Queue()
        self.ready = True
        self.tools = {}
        """The tool (`FarTool`) of each run that runs."""
        self.terminals = asyncio.Queue()
        """(the viewer's end, what was said to the machine) of each terminal that was opened."""

    async def watch_terminal(self, session_id):
        if not self.ready:
            raise CallerError(Code.SCREEN_NOT_READY)
        said = asyncio.Queue()
        view = TerminalView(1, said.put)
        await self.terminals.put((view, said))
        return view

    async def leave_terminal(self, session_id, view):
        await view._say({"type": "terminal_close"})

    async def open_screen(self, session_id):
        if not self.ready:
            raise CallerError(Code.SCREEN_NOT_READY)
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        far_reader, far_writer = await asyncio.open_connection(sock=theirs)
        await self.screens.put(Stream(far_reader, far_writer))
        return Stream(reader, writer)

    async def read_run(self, run_id, at=0):
        tool = self.tools.get(run_id)
        return None if tool is None else await tool.read(at)

    async def leave_run(self, run_id, view):
        if run_id in self.tools:
            self.tools[run_id].leave(view)

    def input_ended(self, session_id):
        return self.ended.setdefault(session_id, asyncio.Event())


@dataclass
class Service:
    """One running service, and what a test does to it."""

    store: Store
    signin: SignIn
    stage: Stage
    addresses: Addresses
    token: str
    app: object
    server: object
    settings: Settings
    measured: Measured
    cleanup: contextlib.AsyncExitStack
    numbers: itertools.count = field(default_factory=itertools.count)
    runs: Runs | None = None
    way: Callable[[], httpx.AsyncBaseTransport | None] = lambda: None
    """Makes the transport of each client: None goes to the public address itself."""

    @property
    def port(self):
        return self.server.port

    def client(self, base, **headers):
        return httpx.AsyncClient(
            base_url=base,
            headers=headers,
            timeout=20,
            trust_env=False,
            transport=self.way(),
            event_hooks={"response": [as_described]},
        )

    async def operator(self):
        client = self.client(self.addresses.dashboard.url, Authorization=f"Bearer {self.token}")
        return await self.cleanup.enter_async_context(client)

    async def scraper(self, **headers):
        token = self.measured.token.reveal()
        return await self.stranger(Authorization=f"Bearer {token}", **headers)

    async def metrics_listener(self):
        """Serve the metrics on a listener of their own; return its address."""
        sockets = [self.cleanup.enter_context(end) for end in listen("127.0.0.1", 0)]
        server = await serve(create_metrics_app(self.measured, self.addresses), sockets)
        self.cleanup.push_async_callback(server.stop)
        return f"http://127.0.0.1:{server.port}"

    async def application(self, *scopes, name="Acme", bind_url="http://127.0.0.1:9/bind"):
        """Add an application with a key of these scopes; return (the application, a client with the key)."""
        known = {one.name: one for one in await self.signin.applications.list()}
        added = known.get(name) or await self.signin.applications.add(name, bind_url=bind_url)
        made = await self.signin.applications.add_key(added.id, name="k0", scopes=scopes, lasts=None)
        return added, await self.stranger(Authorization=f"Bearer {made.secret.reveal()}")

    async def stranger(self, base=None, **headers):
        return await self.cleanup.enter_async_context(self.client(base or self.addresses.dashboard.url, **headers))

    async def browser(self):
        """Return a browser on the sign-in site, without any cookie."""
        return await self.stranger(self.addresses.sign_in.url, Origin=self.addresses.sign_in.origin)

    async def start(self, **body):
        operator = await self.operator()
        answer = await operator.post("/api/auth/session", json={**OPERATIONS, **body})
        assert answer.status_code in {200, 201}, answer.text
        return answer.json()

    async def opened(self, started=None):
        """Return (session id, browser) of a session whose link was opened."""
        started = started or await self.start()
        browser = await self.browser()
        code = started["sign_in_url"].partition("#")[2]
        answer = await browser.post(f"/api/auth/session/{started['session_id']}/open", json={"code": code})
        assert answer.status_code == 204, answer.text
        return started["session_id"], browser

    async def ready(self, session_id):
        """Say that the session's machine has become ready."""
        for fact in (SessionFact.MACHINE_BOOTING, SessionFact.MACHINE_READY):
            await self.store.sessions.apply(session_id, fact, at=now(), expires_at=now() + timedelta(minutes=10))

    async def begin_machine(self, session_id, *, host_uid=None, node="nod_00000000000000000000"):
        """Have the session's machine begin to start on a node called `here`; return its row."""
        row, at = await self.signin.machine(session_id), now()
        if await self.store.nodes.get(node) is None:
            await self.store.nodes.join(node, name="here", url=None, at=at)
        await self.store.machines.claim(node, driver=row.driver, at=at, until=at + timedelta(minutes=1), limit=100)
        return await self.store.machines.begin(
            row.id,
            incarnation=row.incarnation,
            node=node,
            handle={"folder": "/run/nobody's/business"},
            host_uid=host_uid,
            expires_at=at + timedelta(minutes=10),
            at=at,
        )

    async def capture(self, session_id, document=CODEX):
        """Bring a whole credential, as the session's machine does."""
        session = await self.signin.session(session_id)
        file = CapturedFile(json.dumps(document).encode(), time.time_ns())
        await self.signin.capture(session_id, session.machine_id, new_id(IdPrefix.REPORT), {"credential": file})

    async def ticketed(self):
        """Return (session id, browser, ticket) of a session whose screen can be opened."""
        session_id, browser = await self.opened()
        await self.ready(session_id)
        assert (await browser.post(f"/api/auth/session/{session_id}/consent", json={})).status_code == 200
        return session_id, browser, await self.ticket(session_id, browser)

    async def ticket(self, session_id, browser):
        answer = await browser.post(f"/api/auth/session/{session_id}/ticket", json={})
        assert answer.status_code == 200, answer.text
        return answer.json()["ticket"]


async def no_faults():
    return []


@contextlib.asynccontextmanager
async def running(
    folder,
    *,
    world="serve",
    faults=None,
    installed=None,
    node=NODE,
    stage=None,
    installation=None,
    languages=None,
    rates=None,
    clock=now,
    **settings,
):
    """Run a service on a free port of this computer's loopback."""
    chosen = Settings(**{"sweep_s": 0.5, "heartbeat_s": 5, "port": 0, "world": world, **settings})
    async with contextlib.AsyncExitStack() as cleanup:
        providers = Providers.load()
        metrics = Metrics(spec.id for spec in providers.all())
        store = await Store.open(chosen.database_url or file_url(folder / "test.db"), world=world, observer=metrics)
        cleanup.push_async_callback(store.close)
        vault = Vault.open(folder / "vault.key", known_key_id=None, has_rows=False)
        await store.set_key_id(vault.key_id)
        signin = SignIn(
            store=store,
            vault=vault,
            providers=Providers.load(),
            settings=chosen,
            driver="scripted",
            require=lambda spec: None,
            clock=clock,
        )
        yield await serving(
            cleanup,
            signin,
            stage or Stage(),
            chosen,
            world=world,
            parts=(store, vault, metrics),
            folder=folder,
            faults=faults,
            node=node,
            installed=installed,
            installation=installation,
            languages=languages,
            rates=rates,
        )


def runs_over(store, vault, signin, settings, node):
    return Runs(
        store=store,
        vault=vault,
        signin=signin,
        providers=Providers.load(),
        settings=settings,
        driver="scripted",
        node=node,
    )


async def serving(cleanup, signin, live, chosen, *, world, parts, folder, faults=None, node=NODE, runs=None, **rest):
    """Serve the pages and the API over these parts; what else there is goes to the app."""
    store, vault, metrics = parts
    runs = runs or runs_over(store, vault, signin, chosen, node)
    providers = Providers.load()
    sockets = [cleanup.enter_context(end) for end in listen(chosen.bind, chosen.port)]
    addresses = Addresses.of(chosen, sockets[0].getsockname()[1])
    token = new_secret()
    fixed = Fixed(
        build={"version": "0", "world": world, "driver": "scripted"},
        key_id=lambda: vault.key_id,
        checks={"sandbox": True},
        providers={spec.id: True for spec in providers.all()},
        folders={"data": folder},
    )
    measured = Measured(metrics, Scrape(metrics, store.standing, faults or no_faults, fixed), new_secret())
    app = create_app(
        signin,
        live,
        providers,
        chosen,
        world,
        addresses=addresses,
        operator_token=token,
        driver=DriverAbout("scripted", Capabilities(isolation="none", own_uids=False)),
        node=node,
        use_of_runs=runs,
        faults_now=faults,
        counted=measured,
        issuer=issuer_of(chosen),
        **rest,
    )
    server = await serve(app, sockets)
    cleanup.push_async_callback(server.stop)
    return Service(store, signin, live, addresses, token.reveal(), app, server, chosen, measured, cleanup, runs=runs)


async def as_described(answer):
    """See that an error is one of those that /openapi.json says of the route."""
    if answer.is_success or "json" not in answer.headers.get("content-type", ""):
        return
    asked = answer.request
    for method, path in refusals.OF_ROUTES:
        if method == asked.method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), asked.url.path):
            await answer.aread()
            # not ready is no error
            if (error := answer.json().get("error")) is not None:
                assert error["code"] in refusals.of(method, path), (method, path, answer.text)
            return


def error_of(answer):
    """Return (status, code) of an answer, after seeing that its body is an envelope and nothing else."""
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "next", "retryable"}
    assert body["error"]["message"]
    assert body["error"]["next"]
    return answer.status_code, body["error"]["code"]
