"""Transactions: how each part of the store reads and writes, and what a database's error becomes."""

from __future__ import annotations

import asyncio
import functools
import secrets
import sqlite3
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Literal, ParamSpec, TypeVar

from sqlalchemy import exc

from antechamber.errors import CallerError, Code, OperatorError
from antechamber.log import get_logger, told
from antechamber.points import Point, point
from antechamber.store.observer import Nobody
from antechamber.tasks import cancel_and_wait, spawn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from sqlalchemy.ext.asyncio import AsyncConnection

    from antechamber.store.changes import Changes
    from antechamber.store.dialect import StoreDialect
    from antechamber.store.observer import Observer, Recorded

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
_log = get_logger("store")

UNAVAILABLE: Final = (
    exc.OperationalError,
    exc.InterfaceError,
    exc.InternalError,
    exc.NotSupportedError,
    exc.DisconnectionError,
    exc.TimeoutError,
)
"""What a database raises when it is locked, full, broken, away or no database: STORE_UNAVAILABLE."""

OUR_FAULT: Final = (exc.IntegrityError, exc.ProgrammingError)
"""What a database raises when we asked for what its rules refuse: a bug, so RuntimeError. Another class of DBAPI errors
is DataError, a value that it cannot hold: its caller's fault."""


_RACED: Final = frozenset({"40001", "40P01", "23505"})
"""PostgreSQL's SQLSTATEs of a transaction that another one overtook: serialization, deadlock, unique violation."""
_NOT_ALLOWED: Final = "42501"
_TABLE_EXISTS: Final = "42P07"


class RacedError(Exception):
    """Another transaction overtook this one, which did nothing: to be run again; `otherwise` is raised after all."""

    def __init__(self, otherwise: Exception) -> None:
        """Keep the error that it is when it happens again and again."""
        super().__init__(str(otherwise))
        self.otherwise = otherwise


@contextmanager
def translated() -> Iterator[None]:
    """Turn the database library's errors into ours.

    STORE_UNAVAILABLE; MISCONFIGURED when the role lacks a right; CallerError BAD_REQUEST for a value that the database
    cannot hold; RacedError; RuntimeError for a bug.
    """
    try:
        yield
    except exc.DBAPIError as error:
        ours = _ours(error)
        if getattr(error.orig, "sqlstate", None) in _RACED:
            raise RacedError(ours) from error
        raise ours from error
    # what fails while a connection is set up does not pass through SQLAlchemy at all
    except (sqlite3.Error, exc.TimeoutError, exc.DisconnectionError) as error:
        raise OperatorError(Code.STORE_UNAVAILABLE, detail=_short(error)) from error
    except exc.SQLAlchemyError as error:
        message = f"the store misused its database library: {_short(error)}"
        raise RuntimeError(message) from error
    except (UnicodeEncodeError, OverflowError) as error:
        # the driver's: half a character, an integer of more than 64 bits
        raise CallerError(Code.BAD_REQUEST, message=_NOT_STORABLE, detail=type(error).__name__) from error


_NOT_STORABLE: Final = "The request has a text or a number that cannot be stored."


def _ours(error: exc.DBAPIError) -> Exception:
    state = getattr(error.orig, "sqlstate", None)
    if state == _NOT_ALLOWED:
        return OperatorError(
            Code.MISCONFIGURED,
            message="The role of the database URL lacks a right in the database.",
            next_step="Give it what docs/how-to/postgresql.md says; where the database is to be upgraded first, run"
            " `antechamber database upgrade` with the owner's URL.",
            detail=_short(error),
        )
    if isinstance(error, exc.ProgrammingError) and error.statement is None:
        # before any statement there is only the URL to be wrong
        return OperatorError(
            Code.MISCONFIGURED,
            message="The database URL has a part that is not known.",
            next_step="Correct ANTECHAMBER_DATABASE_URL.",
            detail=_short(error),
        )
    if isinstance(error, exc.DataError):
        return CallerError(Code.BAD_REQUEST, message=_NOT_STORABLE, detail=_short(error))
    # other DBAPI errors: SQLAlchemy has no class of its own for "file is not a database" and a corrupt file
    if not isinstance(error, OUR_FAULT) or state == _TABLE_EXISTS:
        return OperatorError(Code.STORE_UNAVAILABLE, detail=_short(error))
    return RuntimeError(f"the database refused a statement of the store: {_short(error)}")


_LAST_WORDS_S: Final = 5.0
_TRIES: Final = 10
"""Each time somebody else's transaction was committed, so that all together always get on."""


def _short(error: Exception) -> str:
    # the statement's parameters can hold a ciphertext or a hash: only the driver's own words go to the log
    return str(getattr(error, "orig", None) or error).splitlines()[0]


def to_its_end(
    method: Callable[Arguments, Coroutine[Any, Any, Result]],
) -> Callable[Arguments, Coroutine[Any, Any, Result]]:
    """Let a method that reads or writes go on to its end when its caller is cancelled; the caller waits for that.

    One whose transaction was overtaken is run again, here and nowhere else: so such a method is one transaction, and
    what it does before that has no effect.

    A statement that is cut short makes the library close the connection, and SQLite keeps a closed connection's
    transaction, with its lock, for as long as any traceback still holds the cursor.
    """

    @functools.wraps(method)
    async def uncut(*arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        work = _again_when_raced(method, *arguments, **named)
        task = asyncio.get_running_loop().create_task(work, name=f"store:{method.__name__}")
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            while not task.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([task])
            if not task.cancelled():
                # nobody asks for its error any more: to asyncio it is then not one that was never retrieved
                task.exception()
            raise

    return uncut


async def _again_when_raced(
    method: Callable[Arguments, Coroutine[Any, Any, Result]], *arguments: Arguments.args, **named: Arguments.kwargs
) -> Result:
    for _ in range(_TRIES - 1):
        with suppress(RacedError):
            return await method(*arguments, **named)
    try:
        return await method(*arguments, **named)
    except RacedError as error:
        raise error.otherwise from error


class Write:
    """A write transaction: its connection, and what is told once it is committed."""

    def __init__(self, connection: AsyncConnection) -> None:
        """Begin with nothing to tell."""
        self.connection: Final = connection
        self.topics: Final[list[str]] = []
        self.recorded: Final[list[Recorded]] = []
        """The events in it, for the observer."""
        self.last: Final[list[Callable[[], Awaitable[None]]]] = []
        """What is written at its end, in the order of commits."""

    def tell(self, *topics: str) -> None:
        """Tell these topics after the commit."""
        self.topics.extend(topics)


class Database:
    """One database: transactions to read and to write. Inside a write nothing but the database is awaited."""

    def __init__(self, dialect: StoreDialect, changes: Changes, observer: Observer | None = None) -> None:
        """Make the engine; nothing is connected yet."""
        self.dialect: Final = dialect
        self._engine: Final = dialect.engine()
        self._changes: Final = changes
        self._observer: Final = observer or Nobody()
        self._name: Final = secrets.token_hex(6)
        self._listener: asyncio.Task[None] | None = None
        self._under_way = 0
        self._idle: Final = asyncio.Event()
        self._idle.set()

    def listen(self) -> None:
        """Begin to hear what other services on this database announce, until `close`."""
        if (hearing := self.dialect.listening(self._engine, self._changes, self._name)) is not None:
            self._listener = spawn("store:hints", hearing)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._under_way += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    @contextmanager
    def _timed(self, kind: Literal["read", "write"]) -> Iterator[None]:
        began = time.monotonic()
        unavailable = False
        try:
            yield
        except OperatorError as error:
            unavailable = error.code is Code.STORE_UNAVAILABLE
            raise
        finally:
            self._observer.transacted(kind, time.monotonic() - began, unavailable=unavailable)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection that sees one state of the database."""
        with self._counted(), self._timed("read"), translated():
            async with self.dialect.reading(self._engine) as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Write]:
        """Give a write transaction; its topics are told after the commit, and not at all when it fails."""
        with self._counted(), self._timed("write"), translated():
            async with self.dialect.writing(self._engine) as connection:
                write = Write(connection)
                yield write
                if write.last:
                    # the very last lock: whoever waits for it here holds every other one already
                    await self.dialect.in_order(connection)
                    for entry in write.last:
                        await entry()
                await self.dialect.announce(connection, write.topics, self._name)
                point(Point.COMMITTING)
        point(Point.COMMITTED)
        self._changes.tell(*write.topics)
        try:
            for recorded in write.recorded:
                self._observer.committed(recorded)
        except Exception as error:  # noqa: BLE001 - what is committed must not look as if it had failed
            _log.error("what was committed could not be counted", **told(error))

    async def scrub(self) -> None:
        """Remove what was deleted from the database's logs too; when that fails it is logged, and happens later."""
        try:
            with translated():
                await self.dialect.scrub(self._engine)
        except OperatorError as error:
            # what was asked for is committed
            _log.warning("what was deleted is in the database's log a while longer", detail=error.detail)

    async def close(self) -> None:
        """Close every connection, once what is under way has ended: a pool forgets a connection that is out."""
        await cancel_and_wait(self._listener)
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_S):
                await self._idle.wait()
        await self._engine.dispose()
