"""Gives each finished sign-in's trace to a collector by OTLP over HTTP, with OpenTelemetry's own library.

The library is an extra, `antechamber[otel]`. A collector that is slow or away costs traces and nothing else: a session
that is over is put into a bounded queue, read back by a task of its own, and sent from a thread of the library's.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, Literal

import antechamber
from antechamber.errors import AntechamberError, Code, OperatorError
from antechamber.lifecycle import SessionFact
from antechamber.log import about, get_logger, told
from antechamber.tasks import cancel_and_wait, spawn
from antechamber.tracing.story import Story

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from antechamber.settings import Settings
    from antechamber.store import Recorded, Store

_log = get_logger("tracing")
_QUEUE: Final = 1000
_REMEMBERED: Final = 10_000
_EXPORT_S: Final = 5.0
_GOODBYE_S: Final = 2.0
_STANDARD: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class Tracing:
    """An observer of the store that tells a collector of sign-ins that are over."""

    def __init__(self, exporter: Exporter) -> None:
        """Tell that exporter; `start` begins."""
        self._exporter = exporter
        self._over: asyncio.Queue[str] = asyncio.Queue(_QUEUE)
        self._told: OrderedDict[str, None] = OrderedDict()
        self._telling: asyncio.Task[None] | None = None

    @classmethod
    def of(cls, settings: Settings, environment: Mapping[str, str]) -> Tracing | None:
        """Return what the settings or OpenTelemetry's standard variables ask for, or None.

        OperatorError (misconfigured) where a setting of ours asks for it and the extra is not installed.
        """
        if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
            return None
        if settings.otlp_endpoint is None and not any(environment.get(name) for name in _STANDARD):
            return None
        try:
            exporter = Exporter(settings.otlp_endpoint, environment)
        except ImportError as error:
            lacking = OperatorError(
                Code.MISCONFIGURED,
                message="Traces are asked for, and OpenTelemetry's library is not installed.",
                next_step="Install antechamber[otel], or leave ANTECHAMBER_OTLP_ENDPOINT out.",
            )
            if settings.otlp_endpoint is not None:
                raise lacking from error
            # the standard variable may be meant for others on this computer
            _log.warning("no traces", message=lacking.message, remedy="Install antechamber[otel].")
            return None
        return cls(exporter)

    def committed(self, recorded: Recorded) -> None:
        """Note which session may be over by this event."""
        session_id = None
        if recorded.machine is not None and recorded.machine.state.ended:
            session_id = recorded.machine.session_id
        elif recorded.session is not None and recorded.event.kind == SessionFact.MACHINE_ENDED:
            session_id = recorded.session.id
        if session_id is None or session_id in self._told:
            return
        try:
            self._over.put_nowait(session_id)
        except asyncio.QueueFull:
            _log.warning("a trace was left out: too many are waiting", session=session_id)

    def transacted(self, kind: Literal["read", "write"], seconds: float, *, unavailable: bool) -> None:
        """Let it pass: transactions are measured, not traced."""

    def start(self, store: Store) -> None:
        """Begin to tell of what is over, as that store knows it."""
        self._telling = spawn("tracing", self._tell(store))

    async def close(self) -> None:
        """Tell what is waiting, and leave after a moment whether or not the collector has taken it."""
        if self._telling is not None:
            joining = spawn("tracing:rest", self._over.join())
            await asyncio.wait({joining, self._telling}, timeout=_GOODBYE_S, return_when=asyncio.FIRST_COMPLETED)
            await cancel_and_wait(joining, self._telling)
        await self._exporter.close(_GOODBYE_S)

    async def _tell(self, store: Store) -> None:
        while True:
            session_id = await self._over.get()
            try:
                with about(session=session_id):
                    await self._tell_of(store, session_id)
            finally:
                self._over.task_done()

    async def _tell_of(self, store: Store, session_id: str) -> None:
        try:
            session = await store.sessions.get(session_id)
            machine = await store.machines.of_session(session_id)
            if session is None or not session.status.terminal or (machine is not None and not machine.state.ended):
                return
            if session_id in self._told:
                return
            self._told[session_id] = None
            if len(self._told) > _REMEMBERED:
                self._told.popitem(last=False)
            events = await store.sessions.events(session_id, machines=True)
            self._exporter.emit(Story.of(session, machine, events))
        except AntechamberError as error:
            _log.warning("a trace was left out", code=str(error.code), detail=error.detail)
        except Exception as error:  # noqa: BLE001 - a trace is worth no sign-in
            _log.error("a trace could not be made", **told(error))


class Exporter:
    """OpenTelemetry's library, with a provider of its own: nothing global is set."""

    def __init__(self, endpoint: str | None, environment: Mapping[str, str]) -> None:
        """Send to that collector, or where the standard variables say; ImportError without the extra."""
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - an extra
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - see above
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - see above
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - see above
        from opentelemetry.sdk.trace.id_generator import IdGenerator  # noqa: PLC0415 - see above

        class Ids(IdGenerator):
            """Gives the ids that were set."""

            trace = 1
            span = 1

            def generate_trace_id(self) -> int:
                return self.trace

            def generate_span_id(self) -> int:
                return self.span

        named = {} if environment.get("OTEL_SERVICE_NAME") else {"service.name": "antechamber"}
        self._ids = Ids()
        self._provider = TracerProvider(
            resource=Resource.create({**named, "service.version": antechamber.__version__}),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        url = None if endpoint is None else f"{endpoint}/v1/traces"
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=url, timeout=_EXPORT_S)))
        self._tracer = self._provider.get_tracer("antechamber", antechamber.__version__)

    def emit(self, story: Story) -> None:
        """Put a story's spans into the library's queue, unless the caller said that its trace is not recorded."""
        from opentelemetry import trace  # noqa: PLC0415 - the library's, and slow to load

        if story.parent is not None and not story.parent.sampled:
            return
        contexts: dict[str | None, Any] = {None: _context_of(story)}
        begun = []
        self._ids.trace = story.trace_id
        for span in story.spans:
            self._ids.span = story.span_id(span.name)
            one = self._tracer.start_span(
                span.name,
                context=contexts[span.parent],
                start_time=_nanoseconds(span.began),
                attributes=story.attributes if span.parent is None else None,
            )
            contexts[span.name] = trace.set_span_in_context(one)
            begun.append((one, span))
        whole = begun[0][0]
        for name, at in story.notes.items():
            whole.add_event(name, timestamp=_nanoseconds(at))
        if story.failed is not None:
            whole.set_status(trace.StatusCode.ERROR, story.failed)
        for one, span in reversed(begun):
            one.end(_nanoseconds(span.ended))

    async def close(self, within: float) -> None:
        """Send what is waiting and stop, in so many seconds at most; a thread that hangs on is left to the exit."""
        done = asyncio.Event()
        loop = asyncio.get_running_loop()

        def shut_down() -> None:
            self._provider.shutdown()
            with contextlib.suppress(RuntimeError):  # nobody waits any more, and the loop is closed
                loop.call_soon_threadsafe(done.set)

        threading.Thread(target=shut_down, name="tracing:shutdown", daemon=True).start()
        waiting = spawn("tracing:shutdown", done.wait())
        await asyncio.wait({waiting}, timeout=within)
        await cancel_and_wait(waiting)


def _context_of(story: Story) -> Any:
    from opentelemetry import trace  # noqa: PLC0415 - see above
    from opentelemetry.context import Context  # noqa: PLC0415 - see above

    if story.parent is None:
        return Context()
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED)
    remote = trace.SpanContext(story.parent.trace_id, story.parent.span_id, is_remote=True, trace_flags=flags)
    return trace.set_span_in_context(trace.NonRecordingSpan(remote), Context())


def _nanoseconds(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000) * 1000
