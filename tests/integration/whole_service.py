"""All of a service but the machines, which are scripted: scene, web and metrics, over real sockets."""

from __future__ import annotations

import contextlib
import functools
from types import SimpleNamespace

from antechamber.machine import Capabilities
from antechamber.metrics import Fixed, Scrape
from antechamber.model import new_secret
from antechamber.signin import now
from antechamber.web import Addresses, DriverAbout, Measured, create_app, listen, serve
from tests.integration.proxies import Way
from tests.integration.scene import scene
from tests.integration.web_service import Service, no_faults

PUBLIC = {"sign_in_url": "http://sign-in.example.test", "dashboard_url": "http://dashboard.example.test"}


@contextlib.asynccontextmanager
async def whole(folder, database, **settings):
    """Run one; its scene is the service's `stage`."""
    chosen = {"database_url": database, "sweep_s": 30, "heartbeat_s": 5, **PUBLIC, **settings}
    async with contextlib.AsyncExitStack() as cleanup:
        stage = await cleanup.enter_async_context(scene(folder, **chosen))
        sockets = [cleanup.enter_context(end) for end in listen("127.0.0.1", 0)]
        addresses = Addresses.of(stage.settings, sockets[0].getsockname()[1])
        token = new_secret()
        fixed = Fixed(
            build={"version": "0", "world": "demo", "driver": "scripted"},
            key_id=lambda: stage.vault.key_id,
            checks={},
            providers={},
            folders={"data": folder},
        )
        scrape = Scrape(stage.metrics, stage.store.standing, no_faults, fixed)
        measured = Measured(stage.metrics, scrape, new_secret())
        app = create_app(
            stage.signin,
            stage.reconciler.live,
            stage.providers,
            stage.settings,
            "demo",
            addresses=addresses,
            operator_token=token,
            driver=DriverAbout("scripted", Capabilities(isolation="none", own_uids=False)),
            node=stage.node_id,
            use_of_runs=stage.runs,
            counted=measured,
        )
        server = await serve(app, sockets)
        cleanup.push_async_callback(server.stop)
        service = Service(
            stage.store, stage.signin, stage, addresses, token.reveal(), app, server, stage.settings, measured, cleanup
        )
        service.way = functools.partial(Way, SimpleNamespace(trust=False, port=server.port, plain_port=server.port))
        url = f"http://127.0.0.1:{server.port}"
        await stage.store.nodes.join(stage.node_id, name=stage.node.name, url=url, at=now())
        yield service


async def metric(service, name):
    """Return the sum of a metric's values over its labels, as the scraper sees it."""
    page = (await (await service.scraper()).get("/metrics")).text
    lines = [line for line in page.splitlines() if line.startswith((f"{name}{{", f"{name} "))]
    assert lines, name
    return sum(float(line.rpartition(" ")[2]) for line in lines)
