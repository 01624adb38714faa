"""Structured logs that cannot show a secret: JSON lines on standard error, each value redacted.

Redaction is the last processor, so that what a library or a stray exception text brings is covered too. What a task is
about (`about`: session, machine, request) is on each of its lines, and on those of every task that it starts.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any, Final

import structlog

from antechamber.model import Secret, clean_text

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from structlog.typing import FilteringBoundLogger, WrappedLogger

_PLAIN_KEYS: Final = frozenset(
    {
        "event",
        "level",
        "timestamp",
        "logger",
        "part",
        "session",
        "machine",
        "incarnation",
        "credential",
        "task",
        "request",
        "method",
        # an operator's, in printable characters alone, and redacted it would name nobody
        "subject",
    }
)
_LIMIT: Final = 4000


def _redacted(value: object) -> object:
    match value:
        case Secret():
            return "***"
        case bool() | int() | float() | None:
            return value
        case dict():
            return {str(key): _redacted(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_redacted(item) for item in value]
        case _:
            return clean_text(str(value), _LIMIT)


def told(error: BaseException) -> dict[str, Any]:
    """Return what to log of an exception that nobody expected: `error`, and where it was.

    Never its repr, which for some quotes what they were working on: a UnicodeError holds the whole text.
    """
    if isinstance(error, UnicodeError):
        return {"error": type(error).__name__, "exception": "".join(traceback.format_tb(error.__traceback__))}
    return {"error": f"{type(error).__name__}: {error}", "exc_info": error}


def redact(_: WrappedLogger, __: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Clean every value that our own code did not choose the form of."""
    return {key: value if key in _PLAIN_KEYS else _redacted(value) for key, value in entry.items()}


def redact_foreign(logger: WrappedLogger, name: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Clean a library's entry: its message, unlike one of ours, is a text that has its values in it already."""
    return redact(logger, name, {**entry, "event": _redacted(entry.get("event", ""))})


def is_pretty(form: str | None) -> bool:
    """Tell whether lines are text for a person, by the setting or, without it, by what standard error is."""
    return sys.stderr.isatty() if form is None else form == "text"


def about(**ids: str | None) -> contextlib.AbstractContextManager[None]:
    """Put ids (`session`, `machine`, `request` …) on each line within the block and within the tasks started in it."""
    return structlog.contextvars.bound_contextvars(**{name: value for name, value in ids.items() if value is not None})


def configure(level: str = "INFO", *, pretty: bool = False) -> None:
    """Set up logging for the process: JSON lines, or aligned text for a person at a terminal."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # the plain formatter: a traceback with local variables would print what they hold
        structlog.processors.format_exc_info,
    ]
    renderer: Any = structlog.dev.ConsoleRenderer(colors=False) if pretty else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*shared, redact, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared, redact_foreign],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # AWS' libraries print what they send, which is data keys
    for chatty in ("httpx", "httpcore", "alembic", "asyncio", "boto3", "botocore", "urllib3", "s3transfer"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    # uvicorn's access log prints request lines, and a request line can hold an id that somebody will call a secret
    logging.getLogger("uvicorn.access").disabled = True
    logging.captureWarnings(capture=True)


def take_crashes() -> None:
    """Let what nobody catches end in the log too, redacted, and not as a bare traceback on standard error."""
    crashes = get_logger("crash")

    def uncaught(kind: type[BaseException], error: BaseException, _: object) -> None:
        if issubclass(kind, Exception):
            crashes.critical("crashed", **told(error))

    sys.excepthook = uncaught
    threading.excepthook = lambda said: uncaught(said.exc_type, said.exc_value or said.exc_type(), None)
    sys.unraisablehook = lambda said: uncaught(said.exc_type, said.exc_value or said.exc_type(), None)


def get_logger(name: str) -> FilteringBoundLogger:
    """Return a logger that carries its name."""
    # lazy until its first use: `bind` here would freeze the configuration of the moment of import
    logger: FilteringBoundLogger = structlog.get_logger(part=name)
    return logger


# structlog's own default prints local variables with a traceback, also before anybody has called `configure`
structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
        redact,
        structlog.processors.JSONRenderer(),
    ]
)
