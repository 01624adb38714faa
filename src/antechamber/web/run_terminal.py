"""The way between a page and the terminal of a run's tool: what the tool wrote from the beginning, and what comes.

The page offers the WebSocket subprotocols `binary` and `ticket.TICKET`, as for a sign-in's terminal, with the same
close codes; a run on another node is passed on to that node (`onward`). Binary messages are bytes: down what the tool
wrote, up what is typed. A text message is a JSON object: down `{"waits": 2}` while another run has the credential,
`{"lost": BYTES}` before a piece where what came before it is not kept any more, `{"again": BOOL}` where pieces begin
that a reader has had before (what they ask of a terminal has been answered) and where they end, and at last `{"end":
{"reason", "exit_code", "redacted"}}`; up `{"columns": int, "rows": int}`. One reader at a time: who comes later takes
over, and each begins anew. The next piece is asked for when the page has taken the one before. Nothing of it is read or
recorded.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from antechamber.errors import AntechamberError, CallerError, Code
from antechamber.log import get_logger
from antechamber.reconciler.reading import Over, RunReader, Waits
from antechamber.tasks import Tasks
from antechamber.web import onward, watching
from antechamber.web.callers import remembered
from antechamber.web.closes import BAD_TICKET, ENDED, NOT_BINARY, NOT_READY, STALLED, STOPPING, TAKEN_OVER, Close
from antechamber.web.cookies import dashboard_cookie
from antechamber.web.seats import STALL_S
from antechamber.web.terminal import size_of

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

    from antechamber.link import Written
    from antechamber.model import ApiKey, NodeRow
    from antechamber.reconciler.reading import Told
    from antechamber.runs import Runs
    from antechamber.web.services import Services

_log = get_logger("terminal")
_TYPED_AHEAD: Final = 64
"""Messages of a page that wait for the tool to take them; then no more is read of that page."""


async def run_elsewhere(runs: Runs, run_id: str) -> NodeRow | None:
    """Return the other node that a run's machine is on; None where it is on this one. Raises CallerError."""
    return await runs.elsewhere(await runs.get(run_id))


class RunTerminals:
    """The terminals of runs."""

    def __init__(self, services: Services) -> None:
        """Serve the runs of these services."""
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one WebSocket that the wall has let in."""
        run_id: str = scope["path_params"]["run_id"]
        runs, site = self._services.runs, self._services.addresses.dashboard
        watched = watching.Watched(
            onward.Place(run_id, site, scope["path"], (dashboard_cookie(site),), bearer=True),
            partial(run_elsewhere, runs, run_id),
            partial(runs.holds_ticket, run_id),
            partial(runs.redeem_ticket, run_id),
        )
        page = onward.Page(onward.Kind.TERMINAL, scope, receive, send, STALL_S)
        await watching.serve(self._services, watched, page, lambda: self._watch(run_id, scope, receive, send))

    async def _watch(self, run_id: str, scope: Scope, receive: Receive, send: Send) -> Close | None:
        """Pass on until either side ends; return what to close with, or None when the page has gone."""
        reader = RunReader(self._services.runs, self._services.live, run_id)
        stopping = asyncio.Event()
        try:
            with self._services.closing.under_way(stopping.set):
                async with Tasks("run terminal") as work:
                    typed = asyncio.Queue[bytes](_TYPED_AHEAD)
                    down = work.spawn("to page", _to_page(reader, run_id, send))
                    up = work.spawn("to machine", _to_machine(reader, typed, receive))
                    ends = {
                        down,
                        up,
                        work.spawn("typed", _type(reader, typed)),
                        work.spawn("right", self._until_over(remembered(scope).key, stopping)),
                    }
                    done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                    # the run's own end counts before whatever came with it
                    return down.result() if down in done else done.pop().result()
        finally:
            await reader.close()

    async def _until_over(self, key: ApiKey | None, stopping: asyncio.Event) -> Close:
        """Return what to close with once the service stops, or an application's key opens nothing any more."""
        while True:
            try:
                async with asyncio.timeout(self._services.settings.heartbeat_s):
                    await stopping.wait()
                    return STOPPING
            except TimeoutError:
                if key is None:
                    continue
            try:
                await self._services.signin.applications.require(key)
            except CallerError:
                return BAD_TICKET
            except AntechamberError:
                # it cannot be looked at now: the page comes again, with another ticket
                return NOT_READY


async def _to_page(reader: RunReader, run_id: str, send: Send) -> Close | None:
    page = _Shown(send)
    try:
        async with contextlib.aclosing(reader.told()) as all_told:
            async for told in all_told:
                async with asyncio.timeout(STALL_S):
                    await page.show(told)
    except TimeoutError:
        return STALLED
    except OSError:
        return None
    except AntechamberError as error:
        if error.code is Code.RUN_IN_USE:
            return TAKEN_OVER
        _log.warning("terminal not read", run=run_id, code=str(error.code), detail=error.detail)
        return NOT_READY
    return ENDED


class _Shown:
    """What a page has been sent."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._at = 0
        self._again = False

    async def show(self, told: Told) -> None:
        match told:
            case Waits(position):
                await self._say(waits=position)
            case Over(run):
                await self._say(end={"reason": run.reason, "exit_code": run.exit_code, "redacted": run.redacted})
            case piece:
                await self._show(piece)

    async def _show(self, piece: Written) -> None:
        if piece.at > self._at:
            await self._say(lost=piece.at - self._at)
        self._at = piece.end
        if piece.again is not self._again:
            self._again = piece.again
            await self._say(again=piece.again)
        if piece.output:
            await self._send({"type": "websocket.send", "bytes": piece.output})

    async def _say(self, **told: Any) -> None:
        await self._send({"type": "websocket.send", "text": json.dumps(told)})


async def _to_machine(reader: RunReader, typed: asyncio.Queue[bytes], receive: Receive) -> Close | None:
    while True:
        message: Message = await receive()
        if message["type"] == "websocket.disconnect":
            return None
        if message.get("bytes") is not None:
            await typed.put(message["bytes"])
            continue
        size = size_of(message.get("text"))
        if size is None:
            return NOT_BINARY
        await reader.resize(*size)


async def _type(reader: RunReader, typed: asyncio.Queue[bytes]) -> Close:
    """Type what has come, one after the other: a tool that is not there yet must not keep the page's end from us."""
    while True:
        try:
            await reader.type(await typed.get())
        except AntechamberError:
            return NOT_READY
