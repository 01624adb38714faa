"""The audit, for the operator: who did what to whose credential, without a name and without a value."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Query

from antechamber.model import DEFAULT_APPLICATION, Actor, AuditAction, AuditLine, AuditOutcome, Owner, Purpose
from antechamber.owners import unnamed
from antechamber.web.bodies import AskedApplication, UserId
from antechamber.web.views import OperatorView, View

if TYPE_CHECKING:
    from antechamber.web.services import Services


class AuditLineView(View):
    """One line of the audit."""

    seq: int
    """Give the last one that you have as `after`."""
    id: str
    at: datetime
    actor: Actor
    action: AuditAction
    outcome: AuditOutcome
    owner: str | None
    """A pseudonym; null where the line names nobody."""
    purpose: Purpose | None
    provider: str | None
    credential_id: str | None
    version: int | None
    session_id: str | None
    refused: str | None
    """The error's code where it was denied."""
    api_key: str | None
    """The id of the application's key by whose right it was."""
    reason: str | None
    """Why, in the words of whoever asked for plain text; null once its owner is removed."""
    fields: dict[str, Any] | None
    """Of `reveal_allowed` and `audit_pruned`: what was allowed or deleted."""
    operator: OperatorView | None
    """Which operator it was, where they came by a login."""

    @classmethod
    def of(cls, line: AuditLine) -> AuditLineView:
        """Show a line."""
        return cls(**{**asdict(line), "operator": OperatorView.of(line.operator)})


class AuditList(View):
    """Lines of the audit, the oldest first."""

    lines: list[AuditLineView]
    gone_up_to: int
    """The last `seq` that has been deleted, with its month; 0: none. Above your `after` you have missed lines."""


def add_routes(app: FastAPI, services: Services) -> None:
    """Add the route to the dashboard's site."""

    @app.get("/api/audit", tags=["audit"])
    async def audit(
        after: Annotated[int, Query(ge=0, lt=2**63, description="Only lines after that `seq`.")] = 0,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
        user_id: Annotated[UserId | None, Query(description="Only lines about that person.")] = None,
        application: AskedApplication = None,
    ) -> AuditList:
        """List who stored, opened, rejected and deleted which credential, and whom nobody knows any more."""
        if application is not None and user_id is None:
            raise unnamed()
        owner = Owner(user_id, application or DEFAULT_APPLICATION) if user_id is not None else None
        found = await services.signin.audit(after=after, limit=limit, owner=owner)
        gone = await services.signin.auditing.gone_up_to()
        return AuditList(lines=[AuditLineView.of(line) for line in found], gone_up_to=gone)
