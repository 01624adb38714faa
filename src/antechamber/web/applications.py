"""Applications and their keys, as the operator sees them; they are made on the command line."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from fastapi import FastAPI

from antechamber.model import ApiScope
from antechamber.web.bodies import ApplicationId, ApplicationLimits
from antechamber.web.views import View

if TYPE_CHECKING:
    from antechamber.model import ApiKey, Application
    from antechamber.web.services import Services


class ApiKeyView(View):
    """A key, without what it is."""

    id: str
    name: str
    scopes: list[ApiScope]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    """To the minute."""
    revoked_at: datetime | None

    @classmethod
    def of(cls, key: ApiKey) -> ApiKeyView:
        """Show a key."""
        return cls(
            id=key.id,
            name=key.name,
            scopes=sorted(key.scopes),
            created_at=key.created_at,
            expires_at=key.expires_at,
            last_used_at=key.last_used_at,
            revoked_at=key.revoked_at,
        )


class ApplicationView(View):
    """An application and its keys."""

    id: str
    name: str
    bind_url: str | None
    """Where it says who sits at a browser; null: the operator opens its links."""
    created_at: datetime
    disabled_at: datetime | None
    """Since when its keys open nothing."""
    live: int
    """How many sign-ins it may have open at once; 0: as many as the installation allows."""
    starts_an_hour: int
    """How many it may start within an hour; 0: as many as the installation allows."""
    keys: list[ApiKeyView]

    @classmethod
    def of(cls, row: Application, keys: list[ApiKey]) -> ApplicationView:
        """Show an application with those of the keys that are its own."""
        return cls(
            id=row.id,
            name=row.name,
            bind_url=row.bind_url,
            created_at=row.created_at,
            disabled_at=row.disabled_at,
            live=row.live,
            starts_an_hour=row.starts_an_hour,
            keys=[ApiKeyView.of(key) for key in keys if key.application == row.id],
        )


class ApplicationList(View):
    """The applications, by name."""

    applications: list[ApplicationView]
    now: datetime
    """The service's clock."""


def add_routes(app: FastAPI, services: Services) -> None:
    """Add the routes to the dashboard's site."""
    signin = services.signin

    @app.get("/api/applications", tags=["applications"])
    async def applications() -> ApplicationList:
        """List applications with their keys, and when each key was last used."""
        keys = list(await signin.applications.keys())
        rows = await signin.applications.list()
        return ApplicationList(applications=[ApplicationView.of(row, keys) for row in rows], now=signin.clock())

    @app.post("/api/applications/{application_id}/limits", tags=["applications"])
    async def limits(application_id: ApplicationId, body: ApplicationLimits) -> ApplicationView:
        """Say how many sign-ins an application may have open and start within an hour; by the operator alone."""
        changed = await signin.applications.change(application_id, body.model_dump())
        return ApplicationView.of(changed, list(await signin.applications.keys(application_id)))
