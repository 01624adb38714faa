"""A role of PostgreSQL for the service that may append to the audit and not change it, and whether one is that.

The role that owns the tables makes and upgrades them, and lets months of the audit go; the service's own may read and
write rows. What each table lets it do is said here once, and a table that is added is one of the ordinary ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql
from sqlalchemy import text

from antechamber.errors import Code, OperatorError
from antechamber.store.copies import file_of
from antechamber.store.database import to_its_end, translated
from antechamber.store.dialect import dialect_of
from antechamber.store.schema import audit, audit_cuts, audit_keys, audit_reasons, metadata

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

_ORDINARY: Final = "SELECT, INSERT, UPDATE, DELETE"
_RIGHTS: Final = {
    # not its number: that is the database's to give
    audit.name: f"SELECT, INSERT ({', '.join(column.name for column in audit.c if column.name != 'seq')})",
    audit_cuts.name: "SELECT",
    # what an erasure destroys
    audit_keys.name: "SELECT, INSERT, DELETE",
    audit_reasons.name: "SELECT, INSERT, DELETE",
    "alembic_version": "SELECT",
}
_VACUUMED: Final = ("provider_credentials", audit_keys.name, audit_reasons.name)
"""Of which nothing that was deleted is to stay; before PostgreSQL 17 none but their owner can vacuum them."""
_MAINTAIN: Final = 170_000
_PARAMETERS: Final = 150_000
"""The version from which a parameter that a superuser may set can be granted to others."""
_ROLES_APART: Final = 160_000
"""The version from which whoever may make roles may not become any of them."""


@dataclass(frozen=True, slots=True)
class Roles:
    """What a role needs, and what it could do to the audit as it is now."""

    statements: Sequence[str]
    ways: Sequence[str]
    """In words, how it could change or delete a line; empty: in no way."""


@to_its_end
async def roles(url: str, role: str, *, apply: bool) -> Roles:
    """Return what gives a role its rights; with `apply` give them. `url` is the owner's.

    Raises OperatorError misconfigured where there is no such role, or no roles at all, and as a connection does.
    """
    if file_of(url) is not None:
        raise OperatorError(
            Code.MISCONFIGURED,
            message="The database is a file, which has no roles.",
            next_step="Export the audit to where nobody who can write that file can change it.",
        )
    dialect = dialect_of(url)
    engine = dialect.engine()
    try:
        with translated():
            async with dialect.writing(engine) as connection:
                statements = await _statements(connection, role)
                if apply:
                    for statement in statements:
                        await connection.exec_driver_sql(statement)
                return Roles(statements, await ways_to_change(connection, role))
    finally:
        await engine.dispose()


async def _statements(connection: AsyncConnection, role: str) -> list[str]:
    about: Any = (await connection.execute(_ABOUT, {"role": role})).one()
    if not about.role_exists:
        raise OperatorError(
            Code.MISCONFIGURED,
            message=f"There is no role {role}.",
            next_step=f"As the server's administrator: CREATE ROLE {_name(role)} LOGIN.",
        )
    if not about.has_tables:
        raise OperatorError(
            Code.MISCONFIGURED,
            message="The database has no tables yet.",
            next_step="Run `antechamber database upgrade` with the owner's URL first.",
        )
    schema, to = _name(about.schema), _name(role)
    made = [
        f"GRANT CONNECT ON DATABASE {_name(about.database)} TO {to}",
        f"REVOKE ALL ON SCHEMA {schema} FROM {to}",
        f"GRANT USAGE ON SCHEMA {schema} TO {to}",
        f"REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {to}",
    ]
    made += [
        f"GRANT {_RIGHTS.get(table, _ORDINARY)} ON {schema}.{_name(table)} TO {to}"
        for table in sorted({*metadata.tables, *_RIGHTS})
    ]
    for table in _VACUUMED:
        if about.version >= _MAINTAIN:
            made.append(f"GRANT MAINTAIN ON {schema}.{_name(table)} TO {to}")
        # one row that was deleted is then enough for the server's own vacuum to come in its next round
        now = "autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 0"
        made.append(f"ALTER TABLE {schema}.{_name(table)} SET ({now})")
    return made


def _name(name: str) -> str:
    return sql.Identifier(name).as_string(None)


_ABOUT: Final = text("""
    SELECT pg_catalog.current_database() AS database, pg_catalog.current_schema() AS schema,
           pg_catalog.current_setting('server_version_num')::int AS version,
           EXISTS (SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = :role) AS role_exists,
           pg_catalog.to_regclass(pg_catalog.quote_ident(pg_catalog.current_schema()) || '.audit_cuts') IS NOT NULL
               AS has_tables
""")

_COULD: Final = """
    SELECT version, rolsuper, rolcreaterole,
           pg_catalog.pg_has_role(who.oid, (SELECT relowner FROM pg_catalog.pg_class
               WHERE oid = 'audit'::regclass), 'MEMBER') AS owns_table,
           pg_catalog.pg_has_role(who.oid, (SELECT nspowner FROM pg_catalog.pg_namespace
               WHERE nspname = pg_catalog.current_schema()), 'MEMBER') AS owns_schema,
           pg_catalog.pg_has_role(who.oid, (SELECT datdba FROM pg_catalog.pg_database
               WHERE datname = pg_catalog.current_database()), 'MEMBER') AS owns_database,
           EXISTS (SELECT 1 FROM pg_catalog.pg_proc WHERE pronamespace = pg_catalog.current_schema()::regnamespace
               AND pg_catalog.pg_has_role(who.oid, proowner, 'MEMBER')) AS owns_function,
           pg_catalog.has_schema_privilege(who.oid, pg_catalog.current_schema(), 'CREATE') AS makes_functions,
           pg_catalog.has_any_column_privilege(who.oid, 'audit', 'UPDATE') AS updates,
           pg_catalog.has_table_privilege(who.oid, 'audit', 'DELETE') AS deletes,
           pg_catalog.has_table_privilege(who.oid, 'audit', 'TRUNCATE') AS truncates,
           pg_catalog.has_table_privilege(who.oid, 'audit', 'TRIGGER') AS makes_triggers,
           pg_catalog.has_column_privilege(who.oid, 'audit', 'seq', 'INSERT') AS numbers,
           pg_catalog.has_any_column_privilege(who.oid, 'audit_cuts', 'INSERT')
               OR pg_catalog.has_any_column_privilege(who.oid, 'audit_cuts', 'UPDATE')
               OR pg_catalog.has_table_privilege(who.oid, 'audit_cuts', 'DELETE') AS cuts,
           {parameter} AS sets_parameter
      FROM pg_catalog.pg_roles AS who,
           (SELECT pg_catalog.current_setting('server_version_num')::int AS version) AS server
     WHERE rolname = {role}
"""
_WAYS: Final = {
    "rolsuper": "it is a superuser",
    "owns_table": "it owns the audit's table, and can drop its triggers",
    "owns_schema": "it owns the schema, and can drop what is in it",
    "owns_database": "it owns the database",
    "owns_function": "it owns functions that the triggers call, and can replace them",
    "makes_functions": "it may make functions in the schema",
    "updates": "it may UPDATE lines",
    "deletes": "it may DELETE lines",
    "truncates": "it may TRUNCATE the audit",
    "makes_triggers": "it may make triggers on the audit",
    "numbers": "it may give a line its number",
    "cuts": "it may write cuts, which let lines go",
    "sets_parameter": "it may set session_replication_role, with which no trigger fires",
}


async def ways_to_change(connection: AsyncConnection, role: str | None = None) -> list[str]:
    """Return in words how a role, or the connection's own, could change or delete a line of the audit."""
    version: Any = (await connection.execute(text("SELECT current_setting('server_version_num')::int"))).scalar_one()
    # a function that an older server does not have cannot even be named there
    setting = "pg_catalog.has_parameter_privilege(who.oid, 'session_replication_role', 'SET')"
    statement = _COULD.format(
        parameter=setting if version >= _PARAMETERS else "false", role="current_user" if role is None else ":role"
    )
    found = (await connection.execute(text(statement), {} if role is None else {"role": role})).mappings().one()
    if found["rolsuper"]:
        return [_WAYS["rolsuper"]]
    ways = [words for name, words in _WAYS.items() if found[name]]
    if found["rolcreaterole"] and version < _ROLES_APART:
        ways.append("it may make roles, and so become the owner")
    return ways
