"""PostgreSQL 14 or later: several services on one database, many writers at a time.

Read here before changing how a transaction works. A write reads the row that it decides about with `FOR UPDATE` under
READ COMMITTED: whoever waited for a lock reads the row anew. What no row lock covers, because there is no row yet, a
unique index decides; whoever lost that race, or was chosen to end a deadlock, runs its transaction again (see
`database.to_its_end`) and then reads what the other one wrote.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import psycopg
from sqlalchemy import URL, Table, event, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, NullPool, Pool

from antechamber.errors import Code, OperatorError
from antechamber.store.adding import adding
from antechamber.store.postgres_hints import CHANNEL, hear, payloads
from antechamber.store.postgres_roles import ways_to_change
from antechamber.store.rules import RULES, Occasion, Rule, condition
from antechamber.store.schema import storable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence

    from antechamber.store.changes import Changes

OLDEST: Final = 14
"""The oldest major version that its makers still mend."""

_MIGRATING: Final = 0x616E7465
_IN_ORDER: Final = 0x616E7466
"""The key of the advisory lock that whoever changes tables holds ("ante")."""

_SESSION: Final = {
    "timezone": "UTC",
    # as long as SQLite waits for its lock; longer than that somebody is stuck
    "lock_timeout": "10s",
    "statement_timeout": "60s",
    # a service that was stopped in the middle of a transaction must not hold its locks for ever
    "idle_in_transaction_session_timeout": "60s",
}
_NETWORK: Final = {
    "connect_timeout": 5,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
_DRIVERS: Final = frozenset({"postgresql", "postgres", "postgresql+psycopg"})


def _triggers(rule: Rule) -> dict[str, str]:
    """Return the function and the trigger of a rule; of a kept row also what refuses to empty its whole table.

    A function looks at tables of its own schema only: with the path of whoever runs the statement, a temporary table
    of the same name would answer in place of ours.
    """
    when = condition(rule, "IS DISTINCT FROM")
    refusal = (
        f"RAISE EXCEPTION '{rule.message}' USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME;"
    )
    row = "OLD" if rule.occasion is Occasion.DELETE else "NEW"
    body = f"IF {when} THEN {refusal} END IF; RETURN {row};" if when else refusal
    made = {
        f"{rule.name}()": _function(rule.name, body),
        rule.name: f"CREATE TRIGGER {rule.name} BEFORE {rule.occasion} ON {rule.table}"
        f" FOR EACH ROW EXECUTE FUNCTION {rule.name}()",
    }
    if rule.occasion is Occasion.DELETE:
        # TRUNCATE deletes without a trigger of any row
        when = rule.when.replace("OLD.", "kept.")
        kept = f"EXISTS (SELECT 1 FROM {rule.table} AS kept WHERE {when})"  # noqa: S608 - our own words, see rules
        name = f"{rule.name}_whole"
        made[f"{name}()"] = _function(name, f"IF {kept} THEN {refusal} END IF; RETURN NULL;")
        made[name] = f"CREATE TRIGGER {name} BEFORE TRUNCATE ON {rule.table} EXECUTE FUNCTION {name}()"
    return made


def _function(name: str, body: str) -> str:
    path = " SET search_path FROM CURRENT" if "SELECT" in body else ""
    return f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql{path} AS $$ BEGIN {body} END $$"


TRIGGERS: Final[dict[str, str]] = {name: made for rule in RULES for name, made in _triggers(rule).items()}


class PostgresDialect:
    """One database of a PostgreSQL server; its tables are in the first schema of the role's search path."""

    triggers: Mapping[str, str] = TRIGGERS

    def __init__(self, url: URL) -> None:
        """Take a URL of libpq's form; OperatorError MISCONFIGURED when it asks for another driver."""
        if "password" in url.query:
            # it would be shown with the rest of the query
            raise OperatorError(
                Code.MISCONFIGURED,
                message="The database URL has a password among its parameters.",
                next_step="Write it before the @, or in the file that PGPASSFILE names.",
            )
        if url.drivername not in _DRIVERS:
            raise OperatorError(
                Code.MISCONFIGURED,
                message=f"The database URL begins with {url.drivername}://, which is not used here.",
                next_step="Let ANTECHAMBER_DATABASE_URL begin with postgresql://.",
            )
        self._url = url.set(drivername="postgresql+psycopg")
        try:
            self._url.get_dialect()().create_connect_args(self._url)
        except (ArgumentError, ValueError) as error:
            raise OperatorError(
                Code.MISCONFIGURED,
                message="The database URL has a part that is not known.",
                next_step="Correct ANTECHAMBER_DATABASE_URL.",
                detail=str(error),
            ) from error
        given = url.query.get("options", "")
        ours = " ".join(f"-c {name}={value}" for name, value in _SESSION.items())
        asked = " ".join(given) if isinstance(given, tuple) else given
        self._connect_args: dict[str, Any] = {
            **{name: value for name, value in _NETWORK.items() if name not in url.query},
            **({} if "application_name" in url.query else {"application_name": "antechamber"}),
            "client_encoding": "utf8",
            "options": f"{ours} {asked}".strip(),
        }

    def _made(self, pool: type[Pool], **sizes: Any) -> AsyncEngine:
        engine = create_async_engine(
            self._url,
            connect_args=self._connect_args,
            poolclass=pool,
            isolation_level="READ COMMITTED",
            json_serializer=_json,
            **sizes,
        )
        event.listen(engine.sync_engine, "connect", _durable)
        return engine

    def engine(self) -> AsyncEngine:
        """Return an engine whose connections are looked at before each use: a restarted server is connected to anew."""
        return self._made(AsyncAdaptedQueuePool, pool_size=5, max_overflow=5, pool_pre_ping=True, pool_timeout=10)

    @asynccontextmanager
    async def reading(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        """Give a connection that sees one state of the database, and may write nothing."""
        async with engine.connect() as plain:
            connection = await plain.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            async with connection.begin():
                yield connection

    @asynccontextmanager
    async def writing(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        """Give a connection that waits for nobody until it locks a row."""
        async with engine.connect() as connection, connection.begin():
            yield connection

    @asynccontextmanager
    async def migrating(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection that holds the right to change tables; OperatorError when the server is not fit for us."""
        engine = self._made(NullPool)
        try:
            async with self.writing(engine) as connection:
                await self.has_tables(connection)
                await connection.execute(text("SET LOCAL lock_timeout = '60s'"))
                await connection.execute(text("SET LOCAL statement_timeout = 0"))
                await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATING})
                # pg_temp is looked at first unless it is named: see _triggers
                await connection.execute(
                    text("SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true)")
                )
                yield connection
        finally:
            await engine.dispose()

    def upsert(
        self, table: Table, row: Mapping[str, Any], key: Sequence[str], add: Sequence[str], take: Sequence[str]
    ) -> Any:
        """Return the statement that inserts the row, or adds to it where the key exists."""
        return adding(insert(table).values(**row), table, key, add, take)

    async def scrub(self, engine: AsyncEngine) -> None:
        """Clear away the deleted versions of credentials' rows, unless an older transaction still runs.

        No statement reads them after that, and their space is used again; the bytes stay in the server's files until
        then, and in its write-ahead log and backups for as long as it keeps those. They are ciphertext.
        """
        async with engine.connect() as plain:
            connection = await plain.execution_options(isolation_level="AUTOCOMMIT")
            # not TRUNCATE: giving the file's end back would lock readers out
            tables = "provider_credentials, audit_keys, audit_reasons"
            await connection.execute(text(f"VACUUM (SKIP_LOCKED, TRUNCATE FALSE) {tables}"))

    @property
    def place(self) -> str:
        """The URL with its password masked."""
        return self._url.set(drivername="postgresql").render_as_string(hide_password=True)

    @property
    def exists(self) -> bool:
        """True: only connecting tells."""
        return True

    async def in_order(self, connection: AsyncConnection) -> None:
        """Take the lock of those who number lines: an identity is given at the insert, and not at the commit."""
        await connection.execute(select(func.pg_advisory_xact_lock(_IN_ORDER)))

    async def ways_to_change_audit(self, connection: AsyncConnection) -> Sequence[str]:
        """Return in words how the role could change a line of the audit."""
        return await ways_to_change(connection)

    async def may_cut(self, connection: AsyncConnection) -> bool:
        """Tell whether the role may write a cut and delete lines."""
        may = text(
            "SELECT pg_catalog.has_table_privilege('audit_cuts', 'INSERT')"
            " AND pg_catalog.has_table_privilege('audit', 'DELETE')"
        )
        return bool((await connection.execute(may)).scalar_one())

    def require_writable(self) -> None:
        """Do nothing: it has no file of ours."""

    async def has_tables(self, connection: AsyncConnection) -> bool:
        """Tell whether our tables are there; OperatorError MISCONFIGURED when the database cannot hold them."""
        found = Found(**(await connection.execute(_FOUND)).mappings().one())
        if (fault := fault_of(found)) is not None:
            raise fault
        return found.has_tables

    async def announce(self, connection: AsyncConnection, topics: Sequence[str], sender: str) -> None:
        """Tell the other services of this database; PostgreSQL delivers it at the commit, and not without one."""
        for payload in payloads(topics, sender):
            await connection.execute(
                text("SELECT pg_notify(:channel, :payload)"), {"channel": CHANNEL, "payload": payload}
            )

    def listening(self, engine: AsyncEngine, changes: Changes, sender: str) -> Coroutine[Any, Any, None]:
        """Return what hears other services' hints until it is cancelled."""
        arguments, named = engine.dialect.create_connect_args(self._url)
        if arguments:  # pragma: no cover - psycopg's dialect gives names only
            message = "the library passes connection arguments by position"
            raise RuntimeError(message)
        return hear({**named, **self._connect_args}, changes, sender)


def _json(value: Any) -> str:
    return json.dumps(_fit(value))


def _fit(value: Any) -> Any:
    """Return JSON without what JSONB does not take: NUL, and halves of characters."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {storable(str(name)): _fit(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_fit(one) for one in value]
    return value


def _durable(connection: Any, _record: Any) -> None:
    # what we acknowledge must be on the disk, also where the server's default is quicker than that
    statement = (
        "SELECT pg_catalog.set_config('synchronous_commit', 'on', false)"
        " WHERE pg_catalog.current_setting('synchronous_commit') = 'off'"
    )
    try:
        cursor = connection.cursor()
        cursor.execute(statement)
        cursor.close()
        connection.commit()
    except psycopg.Error as error:
        # what fails here does not pass through the library's own translation
        raise OperationalError(statement, None, error) from error


@dataclass(frozen=True, slots=True)
class Found:
    """What a server says of itself, of the database, and of our role in it."""

    version: int
    """`server_version_num`: 150004 is 15.4."""
    encoding: str
    writable: bool
    schema: str | None
    """The first schema of the search path that there is."""
    may_create: bool
    anybody_may_create: bool
    """Whether every role of the server that may connect can make functions there, which our statements then call."""
    has_tables: bool
    role: str
    name: str


# each function by its schema and with exactly its types: it is asked while a better fit of somebody else's may be there
_FOUND: Final = text("""
    SELECT pg_catalog.current_setting('server_version_num')::int AS version,
           pg_catalog.current_setting('server_encoding') AS encoding,
           NOT pg_catalog.pg_is_in_recovery()
               AND pg_catalog.current_setting('default_transaction_read_only') = 'off' AS writable,
           place AS schema,
           coalesce(pg_catalog.has_schema_privilege(place, 'CREATE'), false) AS may_create,
           coalesce(pg_catalog.has_schema_privilege('public'::name, place, 'CREATE'), false) AS anybody_may_create,
           pg_catalog.to_regclass(pg_catalog.quote_ident(place) || '.installation') IS NOT NULL AS has_tables,
           current_user AS role,
           pg_catalog.current_database() AS name
      FROM (SELECT pg_catalog.current_schema()::text AS place) AS here
""")


def fault_of(found: Found) -> OperatorError | None:
    """Return why our tables cannot be in such a database, with what to do."""
    said: tuple[str, str] | None = None
    if found.version < OLDEST * 10_000:
        said = f"The server is PostgreSQL {found.version // 10_000}.", f"Use PostgreSQL {OLDEST} or later."
    elif found.encoding != "UTF8":
        said = (
            f"The database {found.name} stores text as {found.encoding}.",
            "Make it with ENCODING 'UTF8' TEMPLATE template0.",
        )
    elif not found.writable:
        said = f"The database {found.name} takes no writes.", "Use the primary server's URL."
    elif found.schema is None:
        said = (
            f"The role {found.role} has no schema in the database {found.name}.",
            f"Make it the database's owner: ALTER DATABASE {found.name} OWNER TO {found.role}.",
        )
    elif found.anybody_may_create:
        said = (
            f"Anybody may make functions in the schema {found.schema} of {found.name}, and so act as {found.role}.",
            f"As the server's administrator, there: REVOKE CREATE ON SCHEMA {found.schema} FROM PUBLIC.",
        )
    elif not found.has_tables and not found.may_create:
        said = (
            f"The role {found.role} lacks the right to make tables in the schema {found.schema} of {found.name}.",
            f"Make it the database's owner: ALTER DATABASE {found.name} OWNER TO {found.role}.",
        )
    return None if said is None else OperatorError(Code.MISCONFIGURED, message=said[0], next_step=said[1])
