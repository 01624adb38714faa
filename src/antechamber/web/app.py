"""Puts the two sites together into one ASGI app."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.responses import JSONResponse
from starlette.routing import Match

import antechamber
from antechamber.metrics import Metrics
from antechamber.texts import Languages
from antechamber.web import (
    access,
    api,
    applications,
    audit,
    credentials,
    description,
    faults,
    logins,
    measured,
    overview,
    owners,
    pages,
    person,
    runs,
)
from antechamber.web.closing import Closing
from antechamber.web.events import Streams
from antechamber.web.fault_page import FaultPage
from antechamber.web.front import Bodies, Framed, Guard, Hosted, Hosts, Origins, content_policy
from antechamber.web.language import Speaking
from antechamber.web.rates import BEARERS, Guesses, Rates
from antechamber.web.services import Installation, InstalledTool, Services
from antechamber.web.views import Fault

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send

    from antechamber.model import Secret
    from antechamber.openid.issuer import Issuer
    from antechamber.providers import Providers, ProviderSpec
    from antechamber.runs import Runs
    from antechamber.settings import Settings
    from antechamber.signin import SignIn
    from antechamber.web.addresses import Addresses
    from antechamber.web.measured import Measured
    from antechamber.web.services import DriverAbout, Live


class WebApp:
    """The ASGI app of both sites; end `closing` before the server that runs it."""

    def __init__(self, app: ASGIApp, addresses: Addresses, closing: Closing) -> None:
        """Hold the layered app."""
        self._app = app
        self.addresses = addresses
        self.closing = closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        await self._app(scope, receive, send)


def create_app(
    signin: SignIn,
    live: Live,
    providers: Providers,
    settings: Settings,
    world_name: str,
    *,
    addresses: Addresses,
    operator_token: Secret,
    driver: DriverAbout,
    node: str,
    use_of_runs: Runs,
    screen_seen: Callable[[str], Awaitable[None]] | None = None,
    installed: Callable[[ProviderSpec], InstalledTool] | None = None,
    faults_now: Callable[[], Awaitable[Sequence[str]]] | None = None,
    counted: Measured | None = None,
    installation: Installation | None = None,
    languages: Languages | None = None,
    rates: Rates | None = None,
    issuer: Issuer | None = None,
) -> WebApp:
    """Return the app; without `counted` it has no page of metrics. `installation` is what its health shows.

    `node` is the id of this service's node. `installed` says how a provider's tool lies here, `faults_now` what keeps
    the service from being ready (besides its database, which is looked at anyway), `screen_seen` is told when a screen
    has reached its person (else signin is). `rates` is what was asked lately; by default nothing.
    `issuer` is by which operators log in.
    """
    closing = Closing()
    metrics = counted.metrics if counted else Metrics()
    languages = languages or Languages.load()
    # not `or`: one that has counted nothing is false
    rates = Rates() if rates is None else rates

    async def all_faults() -> list[str]:
        return [*await api.store_faults(services), *(await faults_now() if faults_now else ())]

    services = Services(
        signin=signin,
        runs=use_of_runs,
        node=node,
        live=live,
        providers=providers,
        settings=settings,
        addresses=addresses,
        world_name=world_name,
        version=antechamber.__version__,
        driver=driver,
        installed=installed or (lambda _: InstalledTool(sha256=None)),
        faults=all_faults,
        screen_seen=screen_seen or signin.screen_seen,
        closing=closing,
        streams=Streams(),
        metrics=metrics,
        languages=languages,
        rates=rates,
        guesses=Guesses(rates, behind_proxy=any(site.secure for site in (addresses.dashboard, addresses.sign_in))),
        issuer=issuer,
        installation=installation or Installation(started_at=datetime.now(UTC)),
    )
    dashboard = _site_app()
    pages.add_dashboard_page(dashboard, services)
    pages.add_common(dashboard, services)
    api.add_routes(dashboard, services)
    logins.add_routes(dashboard, services)
    if counted is not None:
        measured.add_route(dashboard, counted.scrape)
    overview.add_routes(dashboard, services)
    owners.add_routes(dashboard, services)
    credentials.add_routes(dashboard, services)
    audit.add_routes(dashboard, services)
    applications.add_routes(dashboard, services)
    runs.add_routes(dashboard, services)
    sign_in = _site_app()
    pages.add_sign_in_page(sign_in, services)
    pages.add_common(sign_in, services)
    person.add_routes(sign_in, services)
    _add_openapi(dashboard, sign_in, services)

    sites = addresses.dashboard, addresses.sign_in
    token = operator_token if settings.operator_token else None
    callers_only = access.CallersOnly(
        Bodies(dashboard, settings.body_bytes),
        sites[0],
        token,
        signin,
        use_of_runs,
        route_of=_route_of(dashboard),
        metrics_token=counted.token if counted else None,
        guesses=services.guesses,
        terms=issuer.terms.digest if issuer else None,
    )
    browser_only = access.SessionBrowserOnly(
        Bodies(sign_in, settings.body_bytes),
        sites[1],
        signin,
        refused=lambda session_id: services.streams.tell(session_id, "screen_refused"),
    )

    def is_program(scope: Scope) -> bool:
        known = access.is_program(scope, operator_token)
        if not known:
            services.guesses.wrong(BEARERS, scope)
        return known

    hosts = Hosts(
        Hosted(
            sites[0],
            Origins(callers_only, sites[0], bearer=is_program),
            _knows(dashboard),
        ),
        Hosted(sites[1], Origins(browser_only, sites[1]), _knows(sign_in)),
    )
    page = FaultPage(addresses, practice=services.practice)
    origins = settings.embed_origins
    framed = Framed(sites[1], access.PAGE_PATH, content_policy(*sites, ancestors=origins)) if origins else None
    guard = Guard(hosts, content_policy(*sites), closing, on_refused=metrics.refused, page=page, framed=framed)
    return WebApp(Speaking(guard, languages), addresses, closing)


def create_metrics_app(counted: Measured, addresses: Addresses) -> WebApp:
    """Return the app of the listener that serves metrics and nothing else."""
    closing = Closing()
    only = measured.MetricsOnly(counted.scrape, counted.token)
    return WebApp(Guard(only, content_policy(), closing, on_refused=counted.metrics.refused), addresses, closing)


def _site_app() -> FastAPI:
    app = FastAPI(
        title="Antechamber",
        version=antechamber.__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses={"4XX": {"model": Fault}, "5XX": {"model": Fault}},
    )
    faults.install(app)
    return app


def _knows(app: FastAPI) -> Callable[[Scope], bool]:
    def knows(scope: Scope) -> bool:
        return any(route.matches(scope)[0] is not Match.NONE for route in app.router.routes)

    return knows


def _route_of(app: FastAPI) -> Callable[[Scope], tuple[str, dict[str, str]] | None]:
    def route_of(scope: Scope) -> tuple[str, dict[str, str]] | None:
        for route in app.router.routes:
            match, found = route.matches(scope)
            if match is Match.FULL:
                return str(getattr(route, "path", "")), dict(found.get("path_params", {}))
        return None

    return route_of


def _add_openapi(dashboard: FastAPI, sign_in: FastAPI, services: Services) -> None:
    """Add the description of both sites' routes; it is made when somebody first asks, as no start waits for it."""

    @cache
    def described() -> dict[str, Any]:
        return description.of_both(dashboard, sign_in, services.addresses)

    # no coroutine: it takes long enough to keep whatever else is served waiting, and so has a thread
    @dashboard.get("/openapi.json", include_in_schema=False)
    def openapi() -> JSONResponse:
        return JSONResponse(described())
