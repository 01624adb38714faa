"""The migrations lead to exactly the tables that the code was written for (F-09, F-16, F-30, F-42)."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from antechamber.errors import Code, OperatorError
from antechamber.store import Store, file_url
from antechamber.store.migrate import migrate, scripts
from antechamber.store.schema import metadata
from antechamber.store.sqlite import TRIGGERS


def tables_of(path) -> dict[str, str]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
    return {name: _in_order(re.sub(r"\s+", " ", sql)) for name, sql in rows if name != "alembic_version"}


def _in_order(sql: str) -> str:
    # the order in which a table names its constraints means nothing
    head, separator, body = sql.partition("(")
    return head + separator + "\n".join(sorted(part.strip(" ,)") for part in re.split(r",(?= )", body)))


@pytest.fixture
def created(tmp_path):
    path = tmp_path / "created.db"
    engine = create_engine(file_url(path))
    with engine.begin() as connection:
        metadata.create_all(connection)
        for statement in TRIGGERS.values():
            connection.exec_driver_sql(statement)
    engine.dispose()
    return path


@pytest.fixture
async def upgraded(tmp_path):
    path = tmp_path / "upgraded.db"
    await (await Store.open(file_url(path), world="demo")).close()
    return path


def test_an_upgraded_database_is_what_a_created_one_is(created, upgraded):
    theirs, ours = tables_of(upgraded), tables_of(created)
    assert theirs.keys() == ours.keys()
    for name, sql in ours.items():
        assert theirs[name] == sql


def test_the_library_finds_no_difference_either(upgraded):
    engine = create_engine(file_url(upgraded))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_every_trigger_is_there(upgraded):
    assert TRIGGERS.keys() <= tables_of(upgraded).keys()


def test_the_revisions_are_one_line():
    directory = scripts()
    assert len(directory.get_heads()) == 1
    assert len(directory.get_bases()) == 1
    assert all(not revision.is_merge_point for revision in directory.walk_revisions())


async def test_upgrading_twice_changes_nothing(upgraded):
    before = tables_of(upgraded)
    await (await Store.open(file_url(upgraded), world="demo")).close()
    assert tables_of(upgraded) == before


def test_an_upgrade_that_is_rolled_back_leaves_nothing(tmp_path):
    path = tmp_path / "half.db"
    engine = create_engine(file_url(path))
    with engine.connect() as connection:
        connection.connection.dbapi_connection.isolation_level = None
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        migrate(connection)
        connection.exec_driver_sql("ROLLBACK")
    engine.dispose()
    assert tables_of(path) == {}


async def test_a_database_of_a_later_release_is_refused(upgraded):
    with closing(sqlite3.connect(upgraded)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'later'")
        connection.commit()
    with pytest.raises(OperatorError) as refused:
        await Store.open(file_url(upgraded), world="demo")
    assert refused.value.code is Code.SCHEMA_TOO_NEW


async def test_tables_that_are_not_ours_are_not_written_over(tmp_path):
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE auth_sessions (mine TEXT)")
        connection.commit()
    with pytest.raises(OperatorError) as refused:
        await Store.open(file_url(path), world="demo")
    assert refused.value.code is Code.STORE_UNAVAILABLE
    assert tables_of(path).keys() == {"auth_sessions"}
