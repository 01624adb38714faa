"""One person, as the operator sees them: what is kept of them, and the removal of all of it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from fastapi import FastAPI, Path, Query
from pydantic import AfterValidator

from antechamber.model import Actor
from antechamber.texts import speaking
from antechamber.web.bodies import PRINTABLE, AskedApplication, ErasureId, UserId, printable
from antechamber.web.callers import CalledBy
from antechamber.web.views import OperatorView, View

if TYPE_CHECKING:
    from collections.abc import Sequence

    from antechamber.model import Erasure, MachineRow, Owner
    from antechamber.owners import Progress
    from antechamber.web.callers import Caller
    from antechamber.web.services import Services

OwnerId = Annotated[
    str,
    Path(min_length=1, max_length=128, description="Your own id of the person.", json_schema_extra=PRINTABLE),
    AfterValidator(printable),
]
AskedOwner = Annotated[UserId, Query(description="Your own id of the person, whatever characters it has.")]


class WaitedFor(View):
    """A machine that has to end before an erasure goes on."""

    id: str
    state: str
    node: str | None
    """The name of the computer that it runs on."""


class ErasureView(View):
    """The removal of everything of one person; once it has finished, the record of that, which names nobody."""

    id: str
    application: str
    """Whose user it is, or was."""
    user_id: str | None
    """Null once it has finished."""
    asked_by: Actor
    operator: OperatorView | None
    """Which operator asked, where they came by a login."""
    asked_at: datetime
    finished_at: datetime | None
    waits_for: list[WaitedFor]
    sessions: int
    """How many have been removed until now; so with the rest."""
    machines: int
    credentials: int
    events: int
    remains: list[str]
    """What may be left elsewhere, in sentences: the vendors and the backups are out of the service's reach."""

    @classmethod
    def of(cls, row: Erasure, waits_for: Sequence[MachineRow] = (), nodes: dict[str, str] | None = None) -> ErasureView:
        """Show an erasure; `nodes` has the names by their ids."""
        return cls(
            id=row.id,
            application=row.application,
            user_id=row.user_id,
            asked_by=row.asked_by,
            operator=OperatorView.of(row.operator),
            asked_at=row.asked_at,
            finished_at=row.finished_at,
            waits_for=[
                WaitedFor(id=one.id, state=one.state, node=(nodes or {}).get(one.node or "", one.node))
                for one in waits_for
            ],
            sessions=row.sessions,
            machines=row.machines,
            credentials=row.credentials,
            events=row.events,
            remains=[str(said) for said in speaking().pages["dashboard"]["erasure"]["remains"].values()],
        )


class ErasureList(View):
    """Erasures, those that were asked for last first."""

    erasures: list[ErasureView]


class OwnerView(View):
    """What is kept of one person."""

    application: str
    user_id: str
    live_sessions: int
    sessions: int
    """Live ones among them."""
    machines: int
    """Those that have not ended."""
    credentials: int
    tombstones: int
    erasing: ErasureView | None
    """The erasure that is under way."""


def add_routes(app: FastAPI, services: Services) -> None:
    """Add the routes to the dashboard's site."""
    _add_owners(app, services)
    _add_erasures(app, services)


async def _shown(services: Services, progress: Progress) -> ErasureView:
    names = {node.id: node.name for node, _ in await services.signin.nodes()}
    return ErasureView.of(progress.erasure, progress.waits_for, names)


def _add_owners(app: FastAPI, services: Services) -> None:
    owners = services.signin.owners

    async def owner_view(owner: Owner) -> OwnerView:
        about = await owners.about(owner)
        found = about.holdings
        return OwnerView(
            application=owner.application,
            user_id=owner.user_id,
            live_sessions=found.live_sessions,
            sessions=found.sessions,
            machines=found.machines,
            credentials=found.credentials,
            tombstones=found.tombstones,
            erasing=await _shown(services, about.erasing) if about.erasing else None,
        )

    async def begun(owner: Owner, caller: Caller) -> ErasureView:
        return await _shown(
            services, await owners.erase(owner, by=caller.actor, api_key=caller.api_key, operator=caller.operator)
        )

    @app.get("/api/owners/{user_id}", tags=["owners"])
    async def owner(user_id: OwnerId, caller: CalledBy, application: AskedApplication = None) -> OwnerView:
        """Count what is kept of a person, and say how far its erasure is."""
        return await owner_view(caller.owner(user_id, application))

    @app.delete("/api/owners/{user_id}", status_code=202, tags=["owners"])
    async def erase(user_id: OwnerId, caller: CalledBy, application: AskedApplication = None) -> ErasureView:
        """Remove everything of a person: machines first, then all rows; asking again tells how far it is."""
        return await begun(caller.owner(user_id, application), caller)

    # no path of ours has escapes (see `front.is_plain`), and an id may be any text
    @app.get("/api/owners", tags=["owners"])
    async def asked_owner(user_id: AskedOwner, caller: CalledBy, application: AskedApplication = None) -> OwnerView:
        """Do as GET /api/owners/{user_id} does, for an id that cannot stand in a path as it is."""
        return await owner_view(caller.owner(user_id, application))

    @app.delete("/api/owners", status_code=202, tags=["owners"])
    async def erase_asked(user_id: AskedOwner, caller: CalledBy, application: AskedApplication = None) -> ErasureView:
        """Do as DELETE /api/owners/{user_id} does, for an id that cannot stand in a path as it is."""
        return await begun(caller.owner(user_id, application), caller)


def _add_erasures(app: FastAPI, services: Services) -> None:
    owners = services.signin.owners

    @app.get("/api/erasures", tags=["owners"])
    async def erasures(
        caller: CalledBy,
        application: AskedApplication = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> ErasureList:
        """List erasures, the last first: the record of each stays, without a name."""
        rows = await owners.erasures(limit, caller.chosen(application))
        return ErasureList(erasures=[ErasureView.of(row) for row in rows])

    @app.get("/api/erasures/{erasure_id}", tags=["owners"])
    async def erasure(erasure_id: ErasureId) -> ErasureView:
        """Say how far an erasure is."""
        return await _shown(services, await owners.erasure(erasure_id))
