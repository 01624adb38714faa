"""The composition root: one service from its settings, in the order in which parts need one another.

Only here is it known which parts there are. `run` reads, checks and refuses, then serves until it is asked to stop;
machines outlive it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from antechamber import __version__, assets, garbage, metrics, openid, operations, run_conversation, web
from antechamber import control as control_socket
from antechamber.drivers.namespace import NamespaceDriver
from antechamber.egress import Policy
from antechamber.errors import AntechamberError, Code, OperatorError
from antechamber.keys import Keys
from antechamber.log import get_logger
from antechamber.machine import Mount
from antechamber.machine_logs import MachineLogs
from antechamber.nodes import Node
from antechamber.places import DataLock, Places, clear, node_id, place, prepare, token_in
from antechamber.points import Point, point
from antechamber.providers import Providers, install
from antechamber.reconciler import Reconciler, reclaim
from antechamber.runs import Runs
from antechamber.settings import unknown_names
from antechamber.signin import SignIn
from antechamber.store import ERASURES, Several, Store, copies, file_url
from antechamber.tasks import cancel_and_wait, spawn
from antechamber.texts import Languages, speaking
from antechamber.tracing import Tracing
from antechamber.vault import Vault, at_the_root, roots_of
from antechamber.workspaces import Workspaces

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from antechamber.egress import World
    from antechamber.machine import Check, Driver
    from antechamber.model import Secret
    from antechamber.providers import ProviderSpec
    from antechamber.providers.install import Installed
    from antechamber.settings import Settings
    from antechamber.store import Observer

    DriversOf: TypeAlias = Callable[[Settings, Places, str, str], Sequence[Driver]]
    """Returns the drivers of some settings and places, for an installation's id and a node's."""

_log = get_logger("app")
_LOCK_WITHIN: Final = timedelta(seconds=3)
PROGRAM: Final = "antechamber"
"""What the command line is called where nothing else is known."""
_COPIES_LOOK_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Ready:
    """What a service says once it can be used."""

    dashboard_url: str
    sign_in_url: str
    world: str
    places: Places
    token: Secret
    dashboard_link: str
    """Opens the dashboard, once."""
    seconds: float
    """From the start of the service until now."""
    unavailable: Mapping[str, str]
    """Provider id to the sentence that says why it cannot be used here."""
    metrics_url: str
    """Where the metrics are, for the token in `places.metrics_token`."""
    link_command: str
    """What to type here for another link to the dashboard."""


@dataclass(slots=True)
class Tools:
    """The installed command-line tools, looked at once when the service starts."""

    installed: dict[str, Installed] = field(default_factory=dict)
    mounts: dict[str, Sequence[Mount]] = field(default_factory=dict)
    faults: dict[str, OperatorError] = field(default_factory=dict)

    @classmethod
    async def look(cls, providers: Providers, places: Places) -> Tools:
        """Hash every installed tool again; one that is missing or altered is kept out, and said."""
        tools = cls()
        specs = providers.all()
        found = await asyncio.gather(
            *(asyncio.to_thread(install.verify, spec, places.shared) for spec in specs), return_exceptions=True
        )
        node: Mount | None = None
        for spec, result in zip(specs, found, strict=True):
            if isinstance(result, OperatorError):
                tools.faults[spec.id] = result
                continue
            if isinstance(result, BaseException):
                raise result
            tools.installed[spec.id] = result
            mounts = [Mount(result.folder, "/opt/cli")]
            if spec.needs_node:
                node = node or Mount(await asyncio.to_thread(install.node, places.shared), "/opt/node")
                mounts.append(node)
            tools.mounts[spec.id] = mounts
        return tools

    def about(self, spec: ProviderSpec) -> web.InstalledTool:
        """Return how a provider's tool lies here, for the pages."""
        if (fault := self.faults.get(spec.id)) is not None:
            return web.InstalledTool(sha256=None, message=" ".join(speaking().error(fault)))
        return web.InstalledTool(sha256=self.installed[spec.id].sha256)

    async def sentences(self) -> list[str]:
        """Return what keeps providers from being used, in sentences."""
        return [f"{provider}: {' '.join(speaking().error(fault))}" for provider, fault in self.faults.items()]

    def require(self, spec: ProviderSpec) -> None:
        """Raise the fault of a provider whose tool cannot be used."""
        if (fault := self.faults.get(spec.id)) is not None:
            raise fault


def drivers_of(settings: Settings, places: Places, installation: str, node: str) -> list[Driver]:
    """Return the drivers that the settings name, in their order; raises OperatorError for one that there is not."""
    known: dict[str, Callable[[], Driver]] = {
        "namespace": lambda: NamespaceDriver(
            run_dir=places.run, settings=settings, installation=installation, node=node
        )
    }
    unknown = [name for name in settings.drivers if name not in known]
    if unknown:
        message = f"There is no driver {', '.join(unknown)}; there are {', '.join(known)}."
        raise OperatorError(Code.MISCONFIGURED, message=message, next_step="Correct ANTECHAMBER_DRIVERS.")
    return [known[name]() for name in settings.drivers]


async def choose_driver(drivers: Sequence[Driver]) -> tuple[Driver, Sequence[Check]]:
    """Return the first of the drivers whose checks pass; raises OperatorError with every remedy otherwise."""
    faults: list[str] = []
    for driver in drivers:
        checks = await driver.check()
        bad = [check for check in checks if check.fatal and not check.ok]
        if not bad:
            return driver, checks
        faults += [": ".join(filter(None, (driver.name, check.message, check.remedy))) for check in bad]
    raise OperatorError(Code.DRIVER_UNAVAILABLE, message="No machine can be started here. " + "; ".join(faults) + ".")


def machine_logs(settings: Settings, places: Places) -> MachineLogs:
    """Return where what failed machines printed is kept."""
    kept, most = settings.duration("machine_logs_kept"), settings.machine_logs_bytes
    return MachineLogs(places.machine_logs, kept=kept, most=most)


def database_url(settings: Settings, places: Places) -> str:
    """Return where the database is."""
    return settings.database_url or file_url(places.database)


def owner_url(settings: Settings, places: Places) -> str:
    """Return where the database is for its owner: who makes and upgrades tables, and lets months of the audit go."""
    return settings.database_owner_url or database_url(settings, places)


async def open_vault(settings: Settings, places: Places, *, known: str | None, has_rows: bool) -> Vault:
    """Open the roots that the settings name for a database that knows that key; raises OperatorError as `Vault.of`."""
    return await at_the_root(lambda: Vault.of(roots_of(settings, places.key), known_key_id=known, has_rows=has_rows))


@contextlib.asynccontextmanager
async def open_store(
    settings: Settings, places: Places, observer: Observer | None = None
) -> AsyncIterator[tuple[Store, Vault]]:
    """Open database and key, holding the data directory's lock; `observer` is told what is committed.

    A SQLite file of an earlier release is copied before it is upgraded: see `store.copies`.
    """
    prepare(places)
    lock = await DataLock.take(places.data, within=_LOCK_WITHIN)
    try:
        clear(places.data)
        url = database_url(settings, places)
        if (copied := await copies.before_upgrade(url)) is not None:
            _log.info("the database is upgraded", copy=str(copied))
        store = await Store.open(url, world=settings.world, observer=observer)
        try:
            known = await store.key_id()
            vault = await open_vault(settings, places, known=known, has_rows=await store.has_sealed_rows())
            vault.require(await store.credentials.sealed_with())
            if known is None:
                # before it is named for ever: a key that may not be used would seal nothing
                await at_the_root(vault.probe, vault.key_id)
                point(Point.KEY_MADE)
                await store.set_key_id(vault.key_id)
            yield store, vault
        finally:
            await store.close()
    finally:
        lock.release()


def _places(settings: Settings) -> Places:
    """Return the folders of these settings; raises OperatorError also where a root of workspaces cannot be one."""
    places = place(settings)
    if faults := Workspaces(settings.workspaces).faults([places.data, places.run, places.shared]):
        raise OperatorError(
            Code.MISCONFIGURED,
            message=f"ANTECHAMBER_WORKSPACE_ROOTS: {'; '.join(faults)}.",
            next_step="Name folders of your own that nobody else may write to, and that others may enter.",
        )
    return places


async def run(
    settings: Settings,
    world: World,
    on_ready: Callable[[Ready], object],
    *,
    stop: asyncio.Event | None = None,
    keep_machines: bool = True,
    program: str = PROGRAM,
    drivers: DriversOf = drivers_of,
    look: Callable[[Providers, Places], Awaitable[Tools]] = Tools.look,
) -> None:
    """Serve until `stop` is set, or SIGTERM or SIGINT where none is given.

    Machines go on and are found again by the next service, unless `keep_machines` is False. `program` is how the
    operator starts the command line here; `drivers` and `look` say what starts machines and what tools lie here, where
    that is not what the settings name and the shared folder holds. Raises OperatorError for whatever keeps it from
    starting.
    """
    begun, started_at = time.monotonic(), datetime.now(UTC)
    places = _places(settings)
    providers = Providers.of(settings)
    counted = metrics.Metrics(spec.id for spec in providers.all())
    tracing = Tracing.of(settings, os.environ)
    observer = Several(counted, *([tracing] if tracing else []))
    async with open_store(settings, places, observer) as (store, vault), contextlib.AsyncExitStack() as stack:
        if tracing is not None:
            tracing.start(store)
            stack.push_async_callback(tracing.close)
        token = token_in(places.token)
        node = Node(store, node_id(places.node), name=settings.node or socket.gethostname(), url=settings.node_url)
        link_command = f"{program} link --world {world.name}"
        sockets = _listening(settings, stack)
        addresses = web.Addresses.of(settings, sockets[0].getsockname()[1])
        await node.join()
        known = await _reclaimed(drivers(settings, places, store.installation, node.id), settings, store, node)
        tools, (driver, checks), guest = await asyncio.gather(
            look(providers, places),
            choose_driver(known),
            asyncio.to_thread(assets.ServedGuest.take, places.shared),
        )
        stack.callback(guest.release)
        languages = Languages.load(settings.texts_dir, settings.language)
        _warn(languages, checks, owned=settings.database_owner_url is not None)
        signin = SignIn(
            store=store,
            vault=vault,
            providers=providers,
            settings=settings,
            driver=driver.name,
            require=tools.require,
        )
        runs = Runs(
            store=store,
            vault=vault,
            signin=signin,
            providers=providers,
            settings=settings,
            driver=driver.name,
            node=node.id,
        )
        stack.push_async_callback(
            cancel_and_wait, spawn("copies", _forget_copies(store, database_url(settings, places), settings))
        )
        own = (addresses.dashboard.url, addresses.sign_in.url, *([settings.node_url] if settings.node_url else []))
        reconciler = Reconciler(
            store=store,
            node=node,
            signin=signin,
            runs=runs,
            providers=providers,
            driver=driver,
            world=world,
            policy=Policy(deny=settings.egress_deny, public_urls=own),
            settings=settings,
            guest=guest.folder,
            build=assets.guest_build_id(),
            installed=tools.mounts,
            metrics=counted,
            logs=machine_logs(settings, places),
        )
        if not keep_machines:
            stack.push_async_callback(reconciler.end_machines)
        await reconciler.start()
        stack.push_async_callback(reconciler.close)
        measured = web.Measured(
            counted,
            metrics.Scrape(
                counted,
                store.standing,
                _faults(tools, vault),
                metrics.Fixed(
                    build={"version": __version__, "world": world.name, "driver": driver.name},
                    key_id=lambda: vault.key_id,
                    checks={check.name: check.ok for check in checks},
                    providers={spec.id: spec.id not in tools.faults for spec in providers.all()},
                    folders={"data": places.data, "machines": places.run, "shared": places.shared},
                ),
            ),
            token_in(places.metrics_token),
        )
        metrics_url = await _serve_metrics(settings, measured, addresses, stack)
        stack.push_async_callback(cancel_and_wait, spawn("event loop's lag", metrics.watch_loop(counted)))
        server = await web.serve(
            web.create_app(
                signin,
                reconciler.live,
                providers,
                settings,
                world.name,
                addresses=addresses,
                operator_token=token,
                driver=web.DriverAbout(driver.name, driver.capabilities),
                node=node.id,
                use_of_runs=runs,
                installed=tools.about,
                faults_now=_faults(tools, vault),
                counted=measured,
                languages=languages,
                issuer=openid.issuer_of(settings),
                installation=web.Installation(
                    started_at=started_at,
                    checks=checks,
                    key_id=lambda: vault.key_id,
                    root=lambda: vault.root.kind,
                    folders={"data": places.data, "machines": places.run, "shared": places.shared},
                    node=node.name,
                    link_command=link_command,
                ),
            ),
            sockets,
        )
        stack.push_async_callback(server.stop)

        async def dashboard_link(_: Mapping[str, Any] | None = None) -> dict[str, str]:
            code = await signin.dashboard_link()
            return {"url": f"{addresses.dashboard.url}/#code={code.reveal()}"}

        offered = operations.of(signin, providers, lambda: {"world": world.name, **reconciler.described()})
        offered |= operations.of_nodes(store) | operations.of_owners(signin.owners, carry_out=False)
        offered |= operations.of_logs(signin, machine_logs(settings, places), node.id) | operations.of_applications(
            signin.applications
        )
        offered |= operations.of_keys(Keys(store, vault, signin.clock))
        offered["dashboard.link"] = dashboard_link
        offered["credentials.check"] = operations.check_with(reconciler.checks.check)
        control = await control_socket.serve(
            places.control, offered, run_conversation.of(runs, signin, reconciler.live)
        )
        stack.push_async_callback(control.close)
        on_ready(
            Ready(
                dashboard_url=addresses.dashboard.url,
                sign_in_url=addresses.sign_in.url,
                world=world.name,
                places=places,
                token=token,
                dashboard_link=(await dashboard_link())["url"],
                seconds=time.monotonic() - begun,
                unavailable={provider: fault.message for provider, fault in tools.faults.items()},
                metrics_url=metrics_url,
                link_command=link_command,
            )
        )
        await _until_stopped(server, stop)
        _log.info("stopping")


def _listening(settings: Settings, stack: contextlib.AsyncExitStack) -> list[socket.socket]:
    sockets = web.listen(settings.bind, settings.port)
    stack.callback(_close_all, sockets)
    return sockets


def _faults(tools: Tools, vault: Vault) -> Callable[[], Awaitable[list[str]]]:
    """Return what says in sentences what keeps the service from being ready: its tools, and a root that is away."""

    async def sentences() -> list[str]:
        said = await tools.sentences()
        try:
            await at_the_root(vault.answers)
        except OperatorError as error:
            said.append(" ".join(speaking().error(error)))
        return said

    return sentences


async def _forget_copies(store: Store, url: str, settings: Settings) -> None:
    """Remove the copies from before upgrades when their time is over, and when somebody in them has been erased."""
    with store.changes.watch(ERASURES) as asked:
        while True:
            with contextlib.suppress(AntechamberError):
                erased = [one.asked_at for one in await store.erasures.list(1)]
                until = max([datetime.now(UTC) - settings.duration("rollback_kept"), *erased])
                if gone := copies.forget(url, made_before=until):
                    _log.info("copies from before an upgrade are removed", copies=gone)
            await asked.wait(_COPIES_LOOK_S)


def _warn(languages: Languages, checks: Sequence[Check], *, owned: bool) -> None:
    """Log what is wrong and keeps nothing from starting."""
    for said in languages.faults():
        _log.warning("texts", message=said)
    for said in unknown_names(os.environ):
        _log.warning("settings", message=said)
    if owned:
        _log.warning(
            "settings", message="ANTECHAMBER_DATABASE_OWNER_URL is for commands: with it a service can change its audit"
        )
    for check in checks:
        if not check.ok:
            _log.warning("driver", check=check.name, message=check.message, remedy=check.remedy)


async def _reclaimed(drivers: Sequence[Driver], settings: Settings, store: Store, node: Node) -> Sequence[Driver]:
    """Return the drivers, once they have ended and removed what no row asks for any more."""
    await reclaim(store, node.id, drivers, stop_within=settings.duration("stop"))
    return drivers


async def _serve_metrics(
    settings: Settings, measured: web.Measured, addresses: web.Addresses, stack: contextlib.AsyncExitStack
) -> str:
    """Serve the metrics on a listener of their own where the settings ask for one; return where they are."""
    if settings.metrics_address is None:
        return f"{addresses.dashboard.url}/metrics"
    host, port = settings.metrics_address
    sockets = web.listen(host, port)
    stack.callback(_close_all, sockets)
    server = await web.serve(web.create_metrics_app(measured, addresses), sockets)
    stack.push_async_callback(server.stop)
    return f"http://{f'[{host}]' if ':' in host else host}:{server.port}/metrics"


async def _until_stopped(server: web.Server, stop: asyncio.Event | None) -> None:
    """End the start, and return when asked to stop, or when the server has ended by itself."""
    garbage.started()
    asked = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = () if stop is not None else (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, asked.set)
    waiting = spawn("stop", asked.wait())
    try:
        await asyncio.wait({waiting, server.task}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancel_and_wait(waiting)
        for number in signals:
            loop.remove_signal_handler(number)


def _close_all(sockets: Sequence[socket.socket]) -> None:
    for end in sockets:
        end.close()
