"""The migrations lead to exactly the tables that the code was written for (F-09, F-16, F-30, F-42)."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine
from tests.postgres import Server

from antechamber.errors import Code, OperatorError
from antechamber.store import Store, file_url
from antechamber.store.dialect import dialect_of
from antechamber.store.migrate import migrate, scripts
from antechamber.store.revisions import LINE
from antechamber.store.schema import metadata


class SqlitePlace:
    """Where databases are made: a folder of files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def new(self, name: str) -> str:
        return file_url(self._folder / f"{name}.db")

    def run(self, url: str, *statements: str) -> None:
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()

    def tables_of(self, url: str) -> dict[str, str]:
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            rows = connection.execute(
                "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
            ).fetchall()
        return {name: _in_order(re.sub(r"\s+", " ", sql)) for name, sql in rows if name != "alembic_version"}


def _in_order(sql: str) -> str:
    # the order in which a table names its constraints means nothing
    head, separator, body = sql.partition("(")
    return head + separator + "\n".join(sorted(part.strip(" ,)") for part in re.split(r",(?= )", body)))


DEFINITIONS = """
    SELECT 'column ' || table_name || '.' || column_name,
           concat_ws(' ', data_type, character_maximum_length, collation_name, is_nullable, column_default,
                     identity_generation)
      FROM information_schema.columns WHERE table_schema = 'public'
    UNION ALL SELECT 'constraint ' || conname, conrelid::regclass::text || ' ' || pg_get_constraintdef(oid)
      FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT 'index ' || indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL SELECT proname || '()', concat_ws(' ', prosrc, proconfig, proowner::regrole)
      FROM pg_proc WHERE pronamespace = 'public'::regnamespace
"""


class PostgresPlace:
    """Where databases are made: a server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.made: list[str] = []

    def new(self, name: str) -> str:
        self.made.append(self._server.create())
        return self._server.url(self.made[-1])

    def run(self, url: str, *statements: str) -> None:
        with psycopg.connect(url) as connection:
            for statement in statements:
                connection.execute(statement)

    def tables_of(self, url: str) -> dict[str, str]:
        with psycopg.connect(url) as connection:
            rows = connection.execute(DEFINITIONS).fetchall()
        return {name: said for name, said in rows if "alembic_version" not in f"{name} {said}"}


@pytest.fixture(params=["sqlite", "postgres"])
def place(request, tmp_path) -> Iterator[SqlitePlace | PostgresPlace]:
    if request.param == "sqlite":
        yield SqlitePlace(tmp_path)
        return
    server = request.getfixturevalue("postgres")
    made = PostgresPlace(server)
    yield made
    for name in made.made:
        server.drop(name)


def engine_of(url: str) -> Engine:
    return create_engine(url.replace("postgresql://", "postgresql+psycopg://"))


@pytest.fixture
def created(place):
    url = place.new("created")
    engine = engine_of(url)
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL search_path = public, pg_temp")
        metadata.create_all(connection)
        for statement in dialect_of(url).triggers.values():
            connection.exec_driver_sql(statement)
    engine.dispose()
    return url


@pytest.fixture
async def upgraded(place):
    url = place.new("upgraded")
    await (await Store.open(url, world="demo")).close()
    return url


def test_f042_an_upgraded_database_is_what_a_created_one_is(place, created, upgraded):
    theirs, ours = place.tables_of(upgraded), place.tables_of(created)
    assert theirs.keys() == ours.keys()
    for name, sql in ours.items():
        assert theirs[name] == sql


def test_f042_the_library_finds_no_difference_either(upgraded):
    engine = engine_of(upgraded)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_every_trigger_is_there(place, upgraded):
    assert dialect_of(upgraded).triggers.keys() <= place.tables_of(upgraded).keys()


def test_the_revisions_are_one_line():
    directory = scripts()
    assert len(directory.get_heads()) == 1
    assert len(directory.get_bases()) == 1
    assert all(not revision.is_merge_point for revision in directory.walk_revisions())


def test_the_line_that_a_start_knows_is_the_one_that_an_upgrade_goes():
    assert [one.revision for one in scripts().walk_revisions()][::-1] == list(LINE)


def test_alembic_is_loaded_for_an_upgrade_alone(upgraded, place):
    for url, loaded in ((upgraded, False), (place.new("fresh"), True)):
        program = (
            "import asyncio, sys; from antechamber.store import Store;"
            f"asyncio.run(Store.open({url!r}, world='demo')); print('alembic' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == str(loaded)


async def test_upgrading_twice_changes_nothing(place, upgraded):
    before = place.tables_of(upgraded)
    await (await Store.open(upgraded, world="demo")).close()
    assert place.tables_of(upgraded) == before


def test_an_upgrade_that_is_rolled_back_leaves_nothing(place):
    url = place.new("half")
    engine = engine_of(url)
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.connection.dbapi_connection.isolation_level = None
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        migrate(connection)
        connection.exec_driver_sql("ROLLBACK")
    engine.dispose()
    assert place.tables_of(url) == {}


async def test_a_database_of_a_later_release_is_refused(place, upgraded):
    place.run(upgraded, "UPDATE alembic_version SET version_num = 'later'")
    with pytest.raises(OperatorError) as refused:
        await Store.open(upgraded, world="demo")
    assert refused.value.code is Code.SCHEMA_TOO_NEW


async def test_f016_tables_that_are_not_ours_are_not_written_over(place):
    url = place.new("other")
    place.run(url, "CREATE TABLE auth_sessions (mine TEXT)")
    before = place.tables_of(url)
    with pytest.raises(OperatorError) as refused:
        await Store.open(url, world="demo")
    assert refused.value.code is Code.STORE_UNAVAILABLE
    assert place.tables_of(url) == before != {}
