"""`Egress`: answers one machine's requests for names and connections."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from antechamber.egress.dial import dial, interleaved
from antechamber.egress.gate import TLS_PORT, Gate
from antechamber.egress.ledger import Ledger, Use, Verdict, matches
from antechamber.egress.limits import Limits, Rate
from antechamber.egress.look_ups import LookUps
from antechamber.egress.policy import PORTS
from antechamber.egress.splice import splice
from antechamber.errors import OperatorError
from antechamber.guest.protocol import EGRESS_LINE, EgressAnswer
from antechamber.log import get_logger
from antechamber.model import GuestText
from antechamber.tasks import cancel_and_wait, spawn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import timedelta

    from antechamber.egress.addresses import Address
    from antechamber.egress.policy import Policy
    from antechamber.egress.world import World
    from antechamber.machine import Stream

_log = get_logger("egress")
_SHORTEST_REQUEST: Final = 100
"""Bytes of a piece that can hold a request with a token: the ends, answers and window updates of TLS and HTTP/2 are
shorter."""


@dataclass(frozen=True, slots=True)
class _Request:
    op: str
    name: str
    port: int


@dataclass(frozen=True, slots=True)
class _Reached:
    """What a name leads to: an answer, its verdict for the person, and the checked addresses."""

    answer: EgressAnswer
    verdict: Verdict
    shown: str
    addresses: tuple[Address, ...] = ()


@dataclass(slots=True, eq=False)
class _Connection:
    """One that is open, or about to be made."""

    name: str
    asked_ns: int
    """When something went out on it last that can be a request."""


class Egress:
    """The way out of one machine.

    Every refusal, whatever its cause, is the answer of a name that does not exist, at the same time after the request.
    `on_use` gets differences, at most one for each (name, port) and second, and the last ones when it is closed;
    `on_verdict` what became of each single request.
    """

    def __init__(
        self,
        *,
        world: World,
        policy: Policy,
        background_hosts: Sequence[str] = (),
        limits: Limits | None = None,
        only: Sequence[str] | None = None,
        may_connect: Callable[[str], Awaitable[bool]] | None = None,
        on_use: Callable[[Use], None] = lambda _: None,
        on_verdict: Callable[[Verdict], None] = lambda _: None,
    ) -> None:
        """Make it open; needs a running event loop from the first `serve` on.

        With `only` no other names are reached than these (`*.x`: anything under x). `may_connect` is asked, with the
        name, before each connection is made, and before each piece goes out on it that can be a request: one may be
        kept open for several. Where it says no, or raises OperatorError, the connection fails.
        """
        self._only = None if only is None else tuple(only)
        self._may_connect = may_connect
        self._connections: set[_Connection] = set()
        self._world = world
        self._policy = policy
        self._background = tuple(background_hosts)
        self._limits = limits or Limits()
        self._on_verdict = on_verdict
        self._ledger = Ledger(on_use, self._limits.names + 1)
        self._names: set[str] = set()
        self._bytes = 0
        self._rate: Rate | None = None
        self._lines: Rate | None = None
        self._look_ups = LookUps(world.resolver, self._limits, policy.own_names)
        self._open: set[asyncio.Task[None]] = set()
        self._closed = False
        self._close_at: asyncio.TimerHandle | None = None

    def uses(self) -> list[Use]:
        """Return the totals by (name, port)."""
        return self._ledger.totals()

    async def carried(self, hosts: Sequence[str]) -> None:
        """Wait until bytes came back from one of the hosts (`*.x`: anything under x); for ever if none ever do."""
        await self._ledger.answered(hosts)

    def close(self, after: timedelta | None = None) -> None:
        """Refuse everything and break what is open, now or after that time; idempotent, the earlier time wins."""
        if self._closed:
            return
        loop = asyncio.get_running_loop()
        if after is not None and after.total_seconds() > 0:
            at = loop.time() + after.total_seconds()
            if self._close_at is None or at < self._close_at.when():
                self._cancel_close()
                self._close_at = loop.call_at(at, self.close)
            return
        self._cancel_close()
        self._closed = True
        for work in self._open:
            work.cancel()
        self._ledger.flush()

    def _cancel_close(self) -> None:
        if self._close_at is not None:
            self._close_at.cancel()
            self._close_at = None

    async def serve(self, stream: Stream) -> None:
        """Answer the one request of a stream and carry its connection; returns when the stream is closed."""
        if self._closed or len(self._open) >= 2 * self._limits.connections:
            stream.writer.transport.abort()
            return
        work = spawn("egress:stream", self._serve(stream))
        self._open.add(work)
        try:
            await asyncio.wait({work})
        finally:
            await cancel_and_wait(work)
            self._open.discard(work)
            stream.writer.transport.abort()
            self._flush_if_closed()

    def _flush_if_closed(self) -> None:
        if self._closed:
            self._ledger.flush()

    async def _serve(self, stream: Stream) -> None:
        request = await self._request(stream)
        if request is None:
            return
        began = asyncio.get_running_loop().time()
        reached = await self._reach(request, began)
        # from before it is asked whether it may be made: whoever looks in between is to know of it
        connection = _Connection(reached.shown, time.time_ns())
        self._connections.add(connection)
        try:
            await self._do(request, reached, stream, began, connection)
        finally:
            self._connections.discard(connection)

    async def _do(
        self, request: _Request, reached: _Reached, stream: Stream, began: float, connection: _Connection
    ) -> None:
        answer, port, remote = reached.answer, request.port, None
        if answer is EgressAnswer.OK and request.op == "connect":
            remote = await self._dial(reached, port)
            answer = EgressAnswer.OK if remote else EgressAnswer.FAILED
        gate = None if remote is None or port != TLS_PORT else self._gate(reached)
        if gate is None:
            self._judged(reached, port, connections=int(remote is not None))
        try:
            if answer not in {EgressAnswer.OK, EgressAnswer.FAILED}:
                await _hold(began, self._limits.uniform.total_seconds())
            stream.writer.write(json.dumps({"answer": answer.value}).encode() + b"\n")
            await stream.writer.drain()
            if remote is not None:
                await self._carry(stream, remote, Use(reached.shown, port, Verdict.ALLOWED), gate, connection)
            else:
                stream.writer.close()
                await stream.writer.wait_closed()
        except OSError:
            return  # the guest is gone
        finally:
            if gate is not None and not gate.judged:  # nothing was said on it
                self._judged(reached, port, connections=1)
            if remote is not None:
                remote.writer.transport.abort()

    async def _dial(self, reached: _Reached, port: int) -> Stream | None:
        if not await self._may_ask(reached.shown):
            return None
        return await dial(self._world.connector, reached.addresses, port, reached.shown, within=self._limits.connect)

    async def _may_ask(self, name: str) -> bool:
        try:
            return self._may_connect is None or await self._may_connect(name)
        except OperatorError as error:
            _log.warning("a connection is not made", code=error.code, detail=error.detail)
            return False

    async def _may_pass(self, connection: _Connection, piece: bytes) -> bool:
        if len(piece) < _SHORTEST_REQUEST:
            return True
        connection.asked_ns = time.time_ns()
        return await self._may_ask(connection.name)

    def asked_since(self, hosts: Sequence[str], since_ns: int) -> bool:
        """Tell whether one of the hosts (`*.x`: anything under x) may have been asked something after that time.

        On a connection that is open now, or about to be made. `since_ns` as the wall clock has it.
        """
        return any(one.asked_ns > since_ns and matches(one.name, hosts) for one in self._connections)

    def _judged(self, reached: _Reached, port: int, *, connections: int) -> None:
        self._on_verdict(reached.verdict)
        self._ledger.note(Use(reached.shown, port, reached.verdict, connections=connections))

    async def _carry(
        self, stream: Stream, remote: Stream, use: Use, gate: Gate | None, connection: _Connection
    ) -> None:
        await splice(
            stream,
            remote,
            lambda count: self._moved(replace(use, bytes_out=count)),
            lambda count: self._moved(replace(use, bytes_in=count)),
            gate=gate,
            may_pass=None if self._may_connect is None else partial(self._may_pass, connection),
        )

    def _gate(self, reached: _Reached) -> Gate:
        connections = 1

        def judged(why: str) -> None:
            nonlocal connections
            if why:
                self._log_refused(why)
            verdict = Verdict.WRONG_SERVER_NAME if why else reached.verdict
            self._judged(replace(reached, verdict=verdict), TLS_PORT, connections=connections)
            connections = 0  # a second ClientHello is none of a second connection

        return Gate(reached.shown, silent=self._limits.silent, hello=self._limits.hello, on_judged=judged)

    async def _request(self, stream: Stream) -> _Request | None:
        try:
            async with asyncio.timeout(self._limits.request.total_seconds()):
                line = await stream.reader.readuntil(b"\n")
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return None
        request = _parse(line)
        if request is None and self._may_log():
            _log.warning("a guest sent a bad egress request")
        return request

    def _may_log(self) -> bool:
        now = asyncio.get_running_loop().time()
        if self._lines is None:
            self._lines = Rate(self._limits.lines, now)
        return self._lines.take(now)

    def _log_refused(self, why: str) -> None:
        if self._may_log():
            # which name it was is for the session's own browser alone
            _log.info("egress refused", why=why)

    def _moved(self, use: Use) -> bool:
        self._bytes += use.bytes_in + use.bytes_out
        self._ledger.note(use)
        return self._bytes <= self._limits.total_bytes

    async def _reach(self, request: _Request, now: float) -> _Reached:
        """Judge the name, resolve it, judge the addresses; done anew for each request."""
        judged = self._policy.judge_name(request.name)
        shown = judged.name or GuestText(request.name)[: GuestText.LIMIT]
        refused = _Reached(EgressAnswer.NXDOMAIN, Verdict.REFUSED, shown)
        wrong_port = request.op == "connect" and request.port not in PORTS
        if why := self._over_limit(shown, now) or judged.why or self._not_for(shown) or ("port" if wrong_port else ""):
            self._log_refused(why)
            return refused
        if matches(shown, self._background):
            return replace(refused, verdict=Verdict.BACKGROUND)
        answer, addresses = await self._look_ups.resolve(shown)
        if answer is not EgressAnswer.OK:
            return _Reached(answer, Verdict.UNKNOWN_NAME, shown)
        own = await self._look_ups.own_addresses()
        if own is None:
            return _Reached(EgressAnswer.SERVFAIL, Verdict.REFUSED, shown)
        judgements = self._policy.judge_addresses(interleaved(addresses)[: self._limits.addresses], also_own=own)
        checked = tuple(judgement.address for judgement in judgements if judgement.address is not None)
        if checked:
            return _Reached(EgressAnswer.OK, Verdict.ALLOWED, shown, checked)
        whys = sorted({judgement.why for judgement in judgements} or {"no address"})
        self._log_refused(", ".join(whys))
        return refused if addresses else replace(refused, verdict=Verdict.UNKNOWN_NAME)

    def _not_for(self, name: str) -> str:
        is_for = self._only is None or matches(name, self._only)
        return "" if is_for else "none of the names that this machine is for"

    def _over_limit(self, name: str, now: float) -> str:
        if self._rate is None:
            self._rate = Rate(self._limits.rate, now)
        if not self._rate.take(now):
            return "too many requests"
        if len(self._open) > self._limits.connections:
            return "too many connections at once"
        if self._bytes > self._limits.total_bytes:
            return "too many bytes"
        if name not in self._names:
            if len(self._names) >= self._limits.names:
                return "too many names"
            self._names.add(name)
        return ""


def _parse(line: bytes) -> _Request | None:
    if len(line) > EGRESS_LINE:
        return None
    try:
        message: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    match message:
        case {"op": "resolve", "name": str(name)}:
            return _Request("resolve", name, 0)
        case {"op": "connect", "name": str(name), "port": int(port)} if 0 < port < 65536 and port is not True:
            return _Request("connect", name, port)
        case _:
            return None


async def _hold(began: float, step: float) -> None:
    """Wait until a whole number of steps has passed since the request."""
    if step <= 0:
        return
    passed = asyncio.get_running_loop().time() - began
    await asyncio.sleep(step - passed % step)
