"""What the dashboard shows besides sign-ins themselves: stories, machines, the service's health."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final, Literal, cast

from fastapi import FastAPI, Query, Response

from antechamber.errors import AntechamberError
from antechamber.places import LEAST_FREE
from antechamber.texts import speaking
from antechamber.web import sessions
from antechamber.web.bodies import SessionId
from antechamber.web.hints import HINTED, HintStream
from antechamber.web.operator_views import (
    CheckView,
    DatabaseView,
    FolderView,
    MachineDetailView,
    MachineList,
    Move,
    NodeView,
    StatusView,
    StoryView,
    cleaned,
)
from antechamber.web.rates import EVERYBODY, HINTS
from antechamber.web.views import DriverView

if TYPE_CHECKING:
    from pathlib import Path

    from antechamber.model import NodeRow
    from antechamber.web.services import Services

_LIVE_COUNTED: Final = 500


def add_routes(app: FastAPI, services: Services) -> None:
    """Add the routes to the dashboard's site."""
    _add_sessions(app, services)
    _add_machines(app, services)
    _add_status(app, services)


def driver_view(services: Services) -> DriverView:
    """Say which driver starts machines here."""
    capabilities = services.driver.capabilities
    return DriverView(
        name=services.driver.name,
        isolation=capabilities.isolation,
        machine=speaking().isolation[capabilities.isolation],
        own_uids=capabilities.own_uids,
    )


def _add_sessions(app: FastAPI, services: Services) -> None:
    signin = services.signin

    @app.get("/api/auth/session/{session_id}/story", tags=["sessions"])
    async def story(session_id: SessionId) -> StoryView:
        """Tell a session's story: each move of it and of its machine, with its reason; not where the machine went."""
        row = await signin.session(session_id)
        machine = await signin.machine(session_id)
        rows = await signin.events(session_id, machines=True)
        return StoryView(
            session=await sessions.session_view(services, row),
            detail=cleaned(row.detail),
            machine=MachineDetailView.of(machine, await _names(services), datetime.now(UTC)) if machine else None,
            connections=await signin.connections(session_id),
            cli_said=row.cli_said.splitlines(),
            moves=[Move.of(one, previous) for one, previous in zip(rows, [None, *rows], strict=False)],
        )

    @app.get("/api/changes", tags=["dashboard"], response_class=Response, responses=HINTED)
    async def changes() -> Response:
        """Stream a hint after each change of a session, machine, credential or run (Server-Sent Events)."""
        services.rates.take(HINTS, EVERYBODY)
        return HintStream(services)


def _add_machines(app: FastAPI, services: Services) -> None:
    @app.get("/api/machines", tags=["machines"])
    async def machines(
        ended: Annotated[int, Query(ge=0, le=500, description="How many that have ended.")] = 20,
    ) -> MachineList:
        """List the machines that have not ended, and the last ones that have."""
        rows = await services.signin.machines(ended=ended)
        names, at = await _names(services), datetime.now(UTC)
        return MachineList(machines=[MachineDetailView.of(row, names, at) for row in rows], now=at)


async def _names(services: Services) -> dict[str, NodeRow]:
    return {node.id: node for node, _ in await services.signin.nodes()}


def _add_status(app: FastAPI, services: Services) -> None:
    found = services.installation

    @app.get("/api/status", tags=["dashboard"])
    async def status() -> StatusView:
        """Say how the service stands: what it runs on, with which database and key, and what is wrong."""
        faults = await services.faults()
        database = DatabaseView(reachable=False, kind=None, revision=None)
        live = machines = 0
        nodes: list[NodeView] = []
        # a database that does not answer is among the faults already
        with contextlib.suppress(AntechamberError):
            about = await services.signin.database()
            live = len(await services.signin.sessions(live=True, limit=_LIVE_COUNTED))
            machines = len(await services.signin.machines(ended=0))
            nodes = [
                NodeView(name=node.name, seen_at=node.seen_at, machines=count)
                for node, count in await services.signin.nodes()
            ]
            database = DatabaseView(reachable=True, kind=about.kind, revision=about.revision)
        return StatusView(
            version=services.version,
            world=services.world_name,
            practice=services.practice,
            ready=not faults,
            faults=list(faults),
            started_at=found.started_at,
            now=datetime.now(UTC),
            node=found.node,
            nodes=nodes,
            driver=driver_view(services),
            database=database,
            key_id=found.key_id(),
            root=found.root(),
            folders=await asyncio.to_thread(_folders, services),
            checks=[CheckView.of(check) for check in found.checks],
            live_sessions=live,
            machines=machines,
        )


def _folders(services: Services) -> list[FolderView]:
    return [_folder(name, path) for name, path in services.installation.folders.items() if path.is_dir()]


def _folder(name: str, path: Path) -> FolderView:
    usage = shutil.disk_usage(path)
    known = cast("Literal['data', 'machines', 'shared']", name)
    return FolderView(name=known, path=str(path), free=usage.free, total=usage.total, ok=usage.free > LEAST_FREE)
