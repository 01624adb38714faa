"""Stored credentials in the API: their metadata, versions and stories, what is said of them, and their deletion."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import FastAPI, Query

from antechamber.credential_life import CredentialFact
from antechamber.model import CredentialReason, CredentialStatus
from antechamber.web.bodies import AskedApplication, CredentialId, Reveal, Said, UserId
from antechamber.web.callers import CalledBy
from antechamber.web.operator_views import TombstoneList, VersionList, VersionView
from antechamber.web.sessions import revoke_url
from antechamber.web.views import CredentialList, CredentialView, View

if TYPE_CHECKING:
    from antechamber.credentials import Said as Word
    from antechamber.model import Credential, CredentialEvent
    from antechamber.web.services import Services

_WORDS: Final[dict[str, Word]] = {
    "revoked": CredentialFact.SAID_REVOKED,
    "vendor_refused": CredentialFact.VENDOR_REFUSED,
}


class Happening(View):
    """One line of a credential's story: a move of its status, or something noted."""

    at: datetime
    kind: str
    """The fact, such as `captured` or `check_refused`."""
    version: int
    before: CredentialStatus | None
    after: CredentialStatus
    reason: CredentialReason | None
    """Of a move; null of what was only noted."""
    session_id: str | None
    """The sign-in whose doing it is."""
    fields: dict[str, Any]

    @classmethod
    def of(cls, row: CredentialEvent) -> Happening:
        """Show an event's row."""
        return cls(
            at=row.at,
            kind=row.kind,
            version=row.version,
            before=row.before,
            after=row.after,
            reason=row.reason,
            session_id=row.session_id,
            fields=dict(row.fields),
        )


class CredentialStory(View):
    """A credential, or its tombstone, with what happened to it, oldest first."""

    credential: CredentialView
    story: list[Happening]


class RevealedFile(View):
    """One file, as the tool reads it."""

    path: str
    """Where the tool looks for it; `~` is the home of whoever runs it."""
    mode: str
    """Its permissions, in octal."""
    content: str


class RevealedView(View):
    """A credential with what is in it, in plain text."""

    credential: CredentialView
    files: dict[str, RevealedFile]
    """By what the provider's definition calls them; `credential` is the credential file itself."""


def add_routes(app: FastAPI, services: Services) -> None:
    """Add the routes to the dashboard's site."""
    _add_looking(app, services)
    _add_changing(app, services)


def _add_looking(app: FastAPI, services: Services) -> None:
    signin = services.signin

    @app.get("/api/credentials", tags=["credentials"])
    async def credentials(
        caller: CalledBy,
        user_id: Annotated[UserId | None, Query()] = None,
        application: AskedApplication = None,
    ) -> CredentialList:
        """List the metadata of stored credentials, of one user or all."""
        rows = await signin.credentials(user_id, caller.chosen(application, user_id))
        return CredentialList(credentials=[_view(services, row) for row in rows])

    @app.get("/api/credentials/{credential_id}", tags=["credentials"])
    async def credential(credential_id: CredentialId) -> CredentialView:
        """Show one credential's metadata."""
        return _view(services, await signin.credential(credential_id))

    @app.get("/api/credentials/{credential_id}/versions", tags=["credentials"])
    async def versions(credential_id: CredentialId) -> VersionList:
        """List a credential's versions, a deleted one's too: when each was stored, and by which session."""
        rows = await signin.credential_versions(credential_id)
        return VersionList(versions=[VersionView.of(row) for row in rows])

    @app.get("/api/credentials/{credential_id}/story", tags=["credentials"])
    async def story(credential_id: CredentialId) -> CredentialStory:
        """Tell what happened to a credential, a deleted one too: each move of its status, with its reason."""
        row, story = await signin.life.story(credential_id)
        return CredentialStory(credential=_view(services, row), story=[Happening.of(one) for one in story])

    @app.get("/api/tombstones", tags=["credentials"])
    async def tombstones(
        caller: CalledBy,
        application: AskedApplication = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> TombstoneList:
        """List what is left of deleted credentials."""
        rows = await signin.tombstones(limit, caller.chosen(application))
        return TombstoneList(credentials=[_view(services, row) for row in rows])


def _add_changing(app: FastAPI, services: Services) -> None:
    signin = services.signin

    @app.post("/api/credentials/{credential_id}/said", tags=["credentials"])
    async def said(credential_id: CredentialId, body: Said) -> CredentialView:
        """Take it that the vendor refused the credential, or that its sign-in was ended at the vendor."""
        return _view(services, await signin.life.say(credential_id, _WORDS[body.said]))

    @app.post("/api/credentials/{credential_id}/reveal", tags=["credentials"])
    async def reveal(credential_id: CredentialId, body: Reveal, caller: CalledBy) -> RevealedView:
        """Give out a credential of the key's own application in plain text, on record, where the operator allows it."""
        given = await signin.revealing.reveal(credential_id, body.reason, by=caller.actor, key=caller.key)
        files = {name: RevealedFile.model_validate(file) for name, file in given.files.items()}
        return RevealedView(credential=_view(services, given.credential), files=files)

    @app.delete("/api/credentials/{credential_id}", tags=["credentials"])
    async def delete(credential_id: CredentialId, caller: CalledBy) -> CredentialView:
        """Delete a credential; its tombstone stays. The vendor may still hold its grant: `revoke_url` ends it there."""
        deleted = await signin.delete_credential(
            credential_id, by=caller.actor, api_key=caller.api_key, operator=caller.operator
        )
        return _view(services, deleted)


def _view(services: Services, row: Credential) -> CredentialView:
    return CredentialView.of(row, revoke_url(services, row.provider))
