"""Runs of a provider's tool in the API: started, told of, read, and ended."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

from fastapi import FastAPI, Query, Request, Response
from pydantic import BeforeValidator, Field
from starlette.routing import WebSocketRoute

from antechamber.errors import CallerError, Code
from antechamber.model import DEFAULT_APPLICATION, Actor, RunReason, RunStatus
from antechamber.runs import RunRequest
from antechamber.web import onward, watching
from antechamber.web.bodies import AskedApplication, Body, IdempotencyKey, Nothing, RunId, UserId, whole
from antechamber.web.callers import CalledBy
from antechamber.web.events import last_event_id
from antechamber.web.rates import STREAMS
from antechamber.web.run_output import STREAMED, OutputStream
from antechamber.web.run_terminal import RunTerminals, run_elsewhere
from antechamber.web.views import TicketView, View

if TYPE_CHECKING:
    from antechamber.model import Run
    from antechamber.web.services import Services

_MOST_ARGUMENTS: Final = 256
_MOST_CHARACTERS: Final = 48 * 1024
"""Of an argument and of the input; the body's own limit is little more."""

Argument = Annotated[str, Field(max_length=_MOST_CHARACTERS, pattern=r"^[^\x00]*$")]


class StartRun(Body):
    """What starts a run."""

    user_id: UserId = Field(description="Whose stored credential the tool runs with.")
    provider: Annotated[str, Field(min_length=1, max_length=64)] = Field(description="An id or alias of a provider.")
    argv: Annotated[list[Argument], Field(max_length=_MOST_ARGUMENTS)] = Field(
        description="What follows the program on its command line; never read by a shell."
    )
    stdin: Annotated[str, Field(max_length=_MOST_CHARACTERS)] | None = Field(
        None, description="All of the tool's input. Without it, and without a terminal, there is none."
    )
    timeout: Annotated[int, Field(ge=1, le=7 * 86_400), BeforeValidator(whole)] | None = Field(
        None,
        description="Seconds that it may take, at most as many as the operator allows, which are also the default.",
    )
    workspace: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(
        None, description="The workspace in which the tool works, read-only. Without one it has an empty folder."
    )
    detached: bool = Field(
        default=False,
        description="Whether it goes on for a while without a reader, and does not wait for one that is slow: of what"
        " it writes the last 1 MiB is kept.",
    )
    terminal: bool = Field(
        default=False,
        description="Give the tool a terminal, which is a WebSocket; it is typed into, and has no `stdin`.",
    )


class WorkspaceList(View):
    """The names of the workspaces that there are."""

    workspaces: list[str]


class RunView(View):
    """One run; never what the tool was asked."""

    id: str
    application: str
    user_id: str
    provider: str
    credential_id: str
    status: RunStatus
    reason: RunReason | None
    """Why it has ended; `exited`: the tool ended by itself, and `exit_code` is its own."""
    exit_code: int | None
    """The tool's: negative for the signal that ended it. Null of every run that did not end by its tool's own end."""
    position: int | None
    """Its place in the line for the credential, the first is 1; null when it does not wait."""
    terminal: bool
    detached: bool
    redacted: bool
    """Whether something of the credential's file stood in the output, and was replaced."""
    workspace: str | None
    """The workspace that it works in; null once it has ended."""
    timeout: int
    asked_by: Actor
    created_at: datetime
    expires_at: datetime | None
    ended_at: datetime | None


class RunList(View):
    """Runs, newest first."""

    runs: list[RunView]
    now: datetime
    """The service's clock."""


def add_routes(app: FastAPI, services: Services) -> None:
    """Add the routes to the dashboard's site."""
    _add_starting(app, services)
    _add_looking(app, services)
    _add_reading(app, services)


async def _view(services: Services, run: Run) -> RunView:
    return RunView(
        id=run.id,
        application=run.owner.application,
        user_id=run.owner.user_id,
        provider=run.provider,
        credential_id=run.credential_id,
        status=run.status,
        reason=run.reason,
        exit_code=run.exit_code,
        position=await services.runs.position(run),
        terminal=run.terminal,
        detached=not run.held,
        redacted=run.redacted,
        workspace=run.workspace,
        timeout=run.seconds,
        asked_by=run.asked_by,
        created_at=run.created_at,
        expires_at=run.expires_at,
        ended_at=run.ended_at,
    )


def _add_starting(app: FastAPI, services: Services) -> None:
    runs = services.runs

    @app.post("/api/runs", status_code=201, tags=["runs"])
    async def start_run(body: StartRun, caller: CalledBy, idempotency_key: IdempotencyKey = None) -> RunView:
        """Run a provider's tool with a user's stored credential, as soon as no other run has it.

        Whoever chooses `argv` and `stdin` is trusted with the credential: a tool that runs a shell can read its file.
        """
        if body.terminal and body.stdin is not None:
            raise CallerError(
                Code.BAD_REQUEST,
                message="A tool with a terminal is typed into; it has no stdin.",
                next_step="Leave out `stdin`, or `terminal`.",
            )
        run = await runs.start(
            RunRequest(
                owner=caller.owner(body.user_id),
                provider=body.provider,
                arguments=tuple(body.argv),
                terminal=body.terminal,
                held=not body.detached,
                by=caller.actor,
                api_key=caller.api_key,
                seconds=body.timeout,
                given=None if body.terminal else (body.stdin or "").encode(),
                workspace=body.workspace,
            ),
            idempotency_key=idempotency_key,
            caller=caller.name,
        )
        return await _view(services, run)

    @app.post("/api/runs/{run_id}/cancel", tags=["runs"])
    async def cancel_run(run_id: RunId, body: Nothing | None = None) -> RunView:
        """End a run; what its tool has made of the credential is stored all the same. 409 when it has ended already."""
        del body
        return await _view(services, await runs.cancel(run_id))


def _add_looking(app: FastAPI, services: Services) -> None:
    runs = services.runs

    @app.get("/api/runs", tags=["runs"])
    async def list_runs(
        caller: CalledBy,
        user_id: Annotated[UserId | None, Query()] = None,
        application: AskedApplication = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> RunList:
        """List runs, newest first, of one user or all."""
        found = await runs.list(user_id=user_id, application=caller.chosen(application, user_id), limit=limit)
        return RunList(runs=[await _view(services, run) for run in found], now=datetime.now(UTC))

    @app.get("/api/workspaces", tags=["runs"])
    async def workspaces(caller: CalledBy, application: AskedApplication = None) -> WorkspaceList:
        """Name the workspaces that runs of an application's users may work in; without one: the operator's own."""
        chosen = caller.chosen(application, None) or DEFAULT_APPLICATION
        return WorkspaceList(workspaces=await asyncio.to_thread(runs.workspaces.names, chosen))

    @app.get("/api/runs/{run_id}", tags=["runs"])
    async def run(run_id: RunId) -> RunView:
        """Say how a run stands, and how it ended."""
        return await _view(services, await runs.get(run_id))


def _add_reading(app: FastAPI, services: Services) -> None:
    runs = services.runs

    @app.get("/api/runs/{run_id}/output", tags=["runs"], response_class=Response, responses=STREAMED)
    async def output(run_id: RunId, request: Request, caller: CalledBy) -> Response:
        """Stream what a run's tool writes, to its end (Server-Sent Events), resumable by Last-Event-ID.

        One reader at a time: who comes later takes over. A stream that ends without `end` is a failure.
        """
        found = await runs.get(run_id)
        services.rates.take(STREAMS, run_id)
        if found.status is not RunStatus.ENDED and await runs.elsewhere(found) is not None:
            raise onward.another_nodes_run()
        return OutputStream(services, run_id, last_event_id(request.headers.get("last-event-id")), key=caller.key)

    @app.post("/api/runs/{run_id}/terminal/ticket", tags=["runs"])
    async def run_terminal_ticket(run_id: RunId, request: Request, body: Nothing | None = None) -> TicketView:
        """Give a single-use ticket for a run's terminal; 421 where it is on a node that cannot be reached from here."""
        del body
        give, elsewhere = partial(runs.ticket, run_id), partial(run_elsewhere, runs, run_id)
        return await watching.ticket(services, run_id, give, elsewhere, request.scope)

    terminals = RunTerminals(services)
    app.router.routes.append(WebSocketRoute("/api/runs/{run_id}/terminal", terminals, name="run terminal"))
