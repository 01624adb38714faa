from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import stat

import pytest
from sqlalchemy import exc, text

from antechamber.errors import CallerError, Code, OperatorError
from antechamber.lifecycle import Act, SessionFact
from antechamber.store import Store, file_url
from antechamber.store.database import OUR_FAULT, UNAVAILABLE, translated
from antechamber.tasks import spawn


async def refused(url, world="demo") -> OperatorError:
    with pytest.raises(OperatorError) as error:
        await Store.open(url, world=world)
    return error.value


async def test_an_installation_keeps_its_id(store, prompt):
    assert store.installation.startswith("ins_")
    again = await Store.open(prompt.url, world="demo")
    assert again.installation == store.installation
    await again.close()


async def test_a_database_belongs_to_one_world_for_ever(store, prompt):
    assert (await refused(prompt.url, "serve")).code is Code.WRONG_WORLD
    again = await Store.open(prompt.url, world="demo")
    await again.close()


async def test_many_open_one_new_database_at_once(prompt):
    stores = await asyncio.gather(*(Store.open(prompt.url, world="demo") for _ in range(5)))
    assert len({store.installation for store in stores}) == 1
    await asyncio.gather(*(store.close() for store in stores))


async def test_a_new_file_that_somebody_locks_just_now_is_waited_for(sqlite_only, tmp_path):
    path = tmp_path / "new.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        opening = spawn("opening", Store.open(f"sqlite:///{path}", world="demo"))
        await asyncio.sleep(0.5)
        assert not opening.done()
        other.execute("ROLLBACK")
    await (await opening).close()


async def test_the_files_of_the_database_are_the_owners_alone(store, steps, sqlite_only):
    await steps.pending()
    files = list(sqlite_only.path.parent.iterdir())
    assert len(files) > 1
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


async def test_the_key_id_is_remembered_once(store):
    assert await store.key_id() is None
    await store.set_key_id("key_1")
    await store.set_key_id("key_1")
    assert await store.key_id() == "key_1"
    with pytest.raises(OperatorError) as error:
        await store.set_key_id("key_2")
    assert error.value.code is Code.KEY_MISMATCH
    assert await store.key_id() == "key_1"


async def test_every_connection_has_its_pragmas(store, sqlite_only):
    engine = store._database._engine
    connections = [await engine.connect() for _ in range(6)]
    for connection in connections:
        found = {
            name: (await connection.execute(text(f"PRAGMA {name}"))).scalar_one()
            for name in ("journal_mode", "foreign_keys", "secure_delete", "synchronous", "busy_timeout")
        }
        assert found == {
            "journal_mode": "wal",
            "foreign_keys": 1,
            "secure_delete": 1,
            "synchronous": 2,
            "busy_timeout": 10_000,
        }
        await connection.close()


async def test_f016_a_database_of_a_later_release_is_refused_and_left_alone(store, prompt):
    await store.close()
    prompt.run("UPDATE alembic_version SET version_num = '9999'")
    before = prompt.content()
    error = await refused(prompt.url)
    assert error.code is Code.SCHEMA_TOO_NEW
    assert "9999" in error.detail
    assert prompt.content() == before


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "nonsense", "mysql://host/db", "sqlite:///a?b=c"])
async def test_a_url_that_names_no_database_of_ours_is_a_misconfiguration(url):
    assert (await refused(url)).code is Code.MISCONFIGURED


async def test_a_file_that_is_no_database_is_unavailable(tmp_path):
    path = tmp_path / "antechamber.db"
    path.write_bytes(b"DUMMY, not a database " * 100)
    assert (await refused(f"sqlite:///{path}")).code is Code.STORE_UNAVAILABLE
    assert path.read_bytes().startswith(b"DUMMY")


async def test_a_place_that_does_not_exist_is_unavailable(tmp_path):
    assert (await refused(f"sqlite:///{tmp_path}/none/antechamber.db")).code is Code.STORE_UNAVAILABLE


async def test_a_path_with_a_percent_sign_or_a_space_is_a_path(tmp_path):
    path = tmp_path / "a %20b" / "x.db"
    path.parent.mkdir()
    store = await Store.open(file_url(path), world="demo")
    await store.close()
    assert path.exists()


IMPATIENT = {"sqlite": ["PRAGMA busy_timeout = 1"], "postgres": ["SET lock_timeout = 1", "COMMIT"]}


async def test_a_lock_that_somebody_holds_too_long_is_unavailable_and_can_be_tried_again(store, steps, prompt, noon):
    session = await steps.pending()
    with prompt.transaction() as other:
        other.execute("UPDATE auth_sessions SET opened_at = created_at")
        async with store._database._engine.connect() as connection:
            for statement in IMPATIENT[prompt.kind]:
                await connection.exec_driver_sql(statement)
        with pytest.raises(OperatorError) as error:
            await store.sessions.apply(session.id, SessionFact.CANCELLED, at=noon)
        assert (error.value.code, error.value.retryable) == (Code.STORE_UNAVAILABLE, True)
    assert (await store.sessions.apply(session.id, SessionFact.CANCELLED, at=noon)).decision.act is Act.MOVE


async def test_reading_goes_on_while_somebody_writes(store, steps, prompt):
    session = await steps.pending()
    with prompt.transaction() as other:
        other.execute("UPDATE auth_sessions SET opened_at = created_at")
        assert await store.sessions.get(session.id) == session


def leaves(error: type[Exception]) -> set[type[Exception]]:
    return {error}.union(*(leaves(child) for child in error.__subclasses__()))


@pytest.mark.parametrize("error", sorted(leaves(exc.DBAPIError), key=lambda error: error.__name__))
def test_each_error_of_the_database_becomes_one_of_ours(error):
    with pytest.raises((OperatorError, RuntimeError, CallerError)) as translation, translated():
        raise error("SELECT 1", {"secret": "DUMMY"}, Exception("disk I/O error"))
    assert isinstance(translation.value, RuntimeError) == issubclass(error, OUR_FAULT)
    assert isinstance(translation.value, CallerError) == issubclass(error, exc.DataError)
    assert "DUMMY" not in str(translation.value)
    assert translation.value.__cause__ is not None


@pytest.mark.parametrize("error", [exc.TimeoutError("pool"), exc.DisconnectionError("x"), sqlite3.DatabaseError("x")])
def test_errors_of_pool_and_driver_are_unavailability(error):
    with pytest.raises(OperatorError) as translation, translated():
        raise error
    assert translation.value.code is Code.STORE_UNAVAILABLE


def test_misuse_of_the_library_is_a_bug():
    with pytest.raises(RuntimeError), translated():
        raise exc.ArgumentError("x")


def test_no_error_is_of_both_kinds():
    assert not set(UNAVAILABLE) & set(OUR_FAULT)
