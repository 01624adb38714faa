"""What is about PostgreSQL alone: its server going away, its rights, the hints of other services, rows' locks."""

from __future__ import annotations

import asyncio
import dataclasses

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import exc, text
from tests.opening import BY

from antechamber.errors import CallerError, Code, OperatorError
from antechamber.lifecycle import Act, MachineFact, SessionFact
from antechamber.model import DEFAULT_APPLICATION
from antechamber.store import SESSIONS, Store, session_topic
from antechamber.store.database import to_its_end, translated
from antechamber.store.postgres import Found, fault_of
from antechamber.store.postgres_hints import payloads, topics_of

from .conftest import PostgresPrompt, Steps, later

SOON = 20.0
"""Seconds that a busy computer may take for what takes milliseconds."""
FIT = Found(150_004, "UTF8", True, "public", True, False, False, "antechamber", "signins")  # noqa: FBT003 - a row


@pytest.fixture
async def other(store, postgres_only):
    """Another service's store on the same database."""
    opened = await Store.open(postgres_only.url, world="demo")
    yield opened
    await opened.close()


async def heard(store, prompt) -> None:
    """Wait until a store's listener is connected and has woken everybody."""
    listening = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
    with store.changes.watch(SESSIONS) as changed:
        while prompt.run(listening) == [(0,)]:
            await asyncio.sleep(0.01)
        await changed.wait(0.5)


def waiting(prompt: PostgresPrompt) -> int:
    ((count,),) = prompt.run("SELECT count(*) FROM pg_locks WHERE NOT granted")
    return count


async def test_what_one_service_commits_wakes_who_watches_at_another(store, other, steps, noon, postgres_only):
    session = await steps.pending()
    await heard(other, postgres_only)
    with other.changes.watch(session_topic(session.id)) as changed:
        await store.sessions.apply(session.id, SessionFact.MACHINE_BOOTING, at=noon)
        assert await changed.wait(SOON)
        assert (await other.sessions.get(session.id)).status == "starting"


async def test_a_listener_that_was_cut_off_comes_back_and_wakes_everybody(store, other, steps, noon, postgres_only):
    session = await steps.pending()
    await heard(other, postgres_only)
    with other.changes.watch(session_topic(session.id)) as changed:
        ended = postgres_only.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
        assert ended
        # whether this is told or found again by the listener that is back: somebody wakes
        await store.sessions.apply(session.id, SessionFact.MACHINE_BOOTING, at=noon)
        assert await changed.wait(SOON)
        await heard(other, postgres_only)
        while await changed.wait(0):
            pass
        await store.sessions.apply(session.id, SessionFact.CANCELLED, at=noon)
        assert await changed.wait(SOON)


async def test_hints_that_anybody_sends_do_no_harm(store, steps, postgres_only):
    await heard(store, postgres_only)
    with store.changes.watch("session:x") as changed:
        nested = "[" * 7000
        for payload in ("", "x", "[1]", "{}", nested, '["somebody"]', '["somebody", "session:x"]'):
            postgres_only.run("SELECT pg_notify('antechamber', ?)", payload)
        assert await changed.wait(SOON)
    await steps.pending()


def test_hints_fit_into_what_the_server_takes_and_name_each_topic_once():
    topics = [f"session:ses_{number:020}" for number in range(1000)]
    sent = list(payloads([*topics, *topics], "me"))
    assert all(len(payload) < 8000 for payload in sent)
    assert [topic for payload in sent for topic in topics_of(payload, "you")] == topics
    assert [topic for payload in sent for topic in topics_of(payload, "me")] == []
    assert list(payloads([], "me")) == []


async def test_a_session_waits_for_its_own_lock_before_its_machine_gets_an_event_number(
    store, steps, postgres_only, noon
):
    session = await steps.pending()
    machine = await steps.machine(session)
    with postgres_only.transaction() as somebody:
        somebody.execute("SELECT 1 FROM auth_sessions WHERE id = %s FOR UPDATE", [session.id])
        moving = asyncio.get_running_loop().create_task(
            store.machines.apply(machine.id, MachineFact.STOP_ASKED, incarnation=machine.incarnation, at=noon)
        )
        while not waiting(postgres_only):
            await asyncio.sleep(0.01)
        somebody.execute(
            "INSERT INTO events (id, session_id, kind, act, at, fields) VALUES ('evt_x', %s, 'x', 'note', now(), '{}')",
            [session.id],
        )
        somebody.commit()
    await moving
    kinds = [event.kind for event in await store.sessions.events(session.id, machines=True)]
    assert kinds == ["created", "x", "stop_asked"]


async def test_a_server_that_was_restarted_is_found_again(store, steps, postgres_only):
    session = await steps.pending()
    postgres_only.server.stop()
    for _ in range(2):
        with pytest.raises(OperatorError) as error:
            await store.sessions.get(session.id)
        assert (error.value.code, error.value.retryable) == (Code.STORE_UNAVAILABLE, True)
    postgres_only.server.start()
    assert await store.sessions.get(session.id) == session
    assert (await steps.create()).outcome == "live"


async def test_a_connection_that_is_cut_within_a_transaction_is_unavailability(store, steps, postgres_only, noon):
    session = await steps.pending()
    with postgres_only.transaction() as somebody:
        somebody.execute("SELECT 1 FROM auth_sessions FOR UPDATE")
        moving = asyncio.get_running_loop().create_task(
            store.sessions.apply(session.id, SessionFact.CANCELLED, at=noon)
        )
        while not waiting(postgres_only):
            await asyncio.sleep(0.01)
        postgres_only.run("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted")
        with pytest.raises(OperatorError) as error:
            await moving
    assert error.value.code is Code.STORE_UNAVAILABLE
    assert (await store.sessions.apply(session.id, SessionFact.CANCELLED, at=noon)).decision.act is Act.MOVE


@pytest.mark.parametrize(
    "overtaken",
    [psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure, psycopg.errors.UniqueViolation],
)
async def test_a_transaction_that_was_overtaken_is_run_again_and_not_for_ever(overtaken):
    runs = []

    @to_its_end
    async def write(failures: int) -> int:
        runs.append(failures)
        with translated():
            if len(runs) <= failures:
                raise exc.DBAPIError.instance("SELECT 1", None, overtaken("DUMMY"), psycopg.Error)
        return len(runs)

    assert await write(3) == 4
    runs.clear()
    with pytest.raises((OperatorError, RuntimeError)) as error:
        await write(1000)
    assert isinstance(error.value, RuntimeError) == (overtaken is psycopg.errors.UniqueViolation)
    assert len(runs) < 100


async def test_a_caller_who_names_somebody_with_a_nul_is_refused_and_nothing_else_breaks(store, postgres_only):
    with pytest.raises(CallerError) as error:
        await store.sessions.list(user_id="ada\0", application=DEFAULT_APPLICATION)
    assert error.value.code is Code.BAD_REQUEST
    assert await store.sessions.list(user_id="ada", application=DEFAULT_APPLICATION) == []


async def test_what_is_written_is_on_the_disk_also_where_the_server_would_be_quicker(postgres_only, store):
    postgres_only.run("ALTER DATABASE " + postgres_only.name + " SET synchronous_commit = off")
    engine = store._database.dialect.engine()
    async with store._database.dialect.reading(engine) as connection:
        assert (await connection.execute(text("SHOW synchronous_commit"))).scalar_one() == "on"
    await engine.dispose()


async def test_reading_can_write_nothing(store, postgres_only):
    with pytest.raises(OperatorError):
        async with store._database.read() as connection:
            await connection.execute(text("UPDATE auth_sessions SET detail = 'x'"))


# -- opening ----------------------------------------------------------------------------------------------------------


async def refusal(url: str, world: str = "demo") -> OperatorError:
    with pytest.raises(OperatorError) as looked:
        await Store.look(url, world=world)
    with pytest.raises(OperatorError) as opened:
        await Store.open(url, world=world)
    assert (opened.value.code, opened.value.message) == (looked.value.code, looked.value.message)
    return opened.value


async def test_looking_says_how_the_database_is_and_changes_nothing(postgres_only):
    before = postgres_only.content()
    said = await Store.look(postgres_only.url, world="demo")
    assert "made at the first start" in said
    assert postgres_only.content() == before
    await (await Store.open(postgres_only.url, world="demo")).close()
    assert (await Store.look(postgres_only.url, world="demo")).endswith(": can be opened")
    assert (await refusal(postgres_only.url, "serve")).code is Code.WRONG_WORLD


async def test_a_wrong_password_is_in_no_error_and_in_no_description(postgres_only, caplog):
    postgres_only.run("DROP ROLE IF EXISTS guarded")
    postgres_only.run("CREATE ROLE guarded LOGIN PASSWORD 'DUMMY-right'")
    url = postgres_only.url.replace("tests@", "guarded:DUMMY-wrong@")
    error = await refusal(url)
    assert error.code is Code.STORE_UNAVAILABLE
    assert "guarded" in error.detail
    told = [str(error), error.message, error.next, error.detail, caplog.text]
    cause = error.__cause__
    while cause is not None:
        told.append(repr(cause))
        cause = cause.__cause__ or cause.__context__
    assert "DUMMY" not in " ".join(told)
    right = url.replace("DUMMY-wrong", "DUMMY-right")
    postgres_only.run("GRANT CREATE ON SCHEMA public TO guarded")
    assert "DUMMY" not in await Store.look(right, world="demo")
    postgres_only.run("REVOKE CREATE ON SCHEMA public FROM guarded")
    postgres_only.run("DROP ROLE guarded")


@pytest.mark.parametrize(
    ("of_ours", "instead", "code"),
    [
        ("postgresql://", "postgresql+asyncpg://", Code.MISCONFIGURED),
        ("?host=", "?password=DUMMY&host=", Code.MISCONFIGURED),
        ("/test", "/nothing", Code.STORE_UNAVAILABLE),
        ("?host=", "?host=/nowhere", Code.STORE_UNAVAILABLE),
        ("?host=", "?nonsense=1&host=", Code.MISCONFIGURED),
        ("?host=", "?connect_timeout=x&host=", Code.MISCONFIGURED),
        ("?host=", "?port=x&host=", Code.MISCONFIGURED),
        ("tests@", "tests:DUM@MY@h:x", Code.MISCONFIGURED),
        ("tests@", "nobody-of-ours@", Code.STORE_UNAVAILABLE),
    ],
)
async def test_a_url_that_leads_nowhere_is_told_with_what_to_do(postgres_only, of_ours, instead, code):
    error = await refusal(postgres_only.url.replace(of_ours, instead, 1))
    assert error.code is code
    assert "DATABASE_URL" in error.next or "PGPASSFILE" in error.next
    assert "MY" not in f"{error} {error.__cause__} {error.detail}"


@pytest.mark.parametrize(
    "url", ["postgresql://u:DUM@MY@h/d", "postgresql://u:DUMMY@h:x/d", "postgresql://[::1/d", "postgresql://a\0b/d"]
)
async def test_a_url_that_is_not_well_formed_is_told_without_any_of_it(url):
    error = await refusal(url)
    assert (error.code, error.detail, error.__cause__) == (Code.MISCONFIGURED, "", None)
    assert "MY" not in str(error)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"version": 130_009}, "PostgreSQL 13"),
        ({"encoding": "SQL_ASCII"}, "SQL_ASCII"),
        ({"writable": False}, "takes no writes"),
        ({"schema": None}, "has no schema"),
        ({"may_create": False}, "lacks the right to make tables"),
        ({"anybody_may_create": True}, "Anybody may make functions"),
        ({"anybody_may_create": True, "has_tables": True}, "Anybody may make functions"),
    ],
)
def test_a_database_that_cannot_hold_the_tables_is_told_with_the_remedy(found, said):
    fault = fault_of(dataclasses.replace(FIT, **found))
    assert said in fault.message
    assert fault.code is Code.MISCONFIGURED
    assert fault_of(FIT) is fault_of(dataclasses.replace(FIT, may_create=False, has_tables=True)) is None


async def test_a_database_of_another_encoding_is_refused(postgres_only):
    server, name = postgres_only.server, f"{postgres_only.name}_ascii"
    make = "CREATE DATABASE {} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0"
    server.run(sql.SQL(make).format(sql.Identifier(name)))
    assert "SQL_ASCII" in (await refusal(server.url(name))).message
    server.drop(name)


async def test_a_schema_where_anybody_may_make_functions_is_refused_before_one_of_theirs_is_called(postgres_only):
    await (await Store.open(postgres_only.url, world="demo")).close()
    # as PostgreSQL 14 makes it, and an upgrade from there leaves it
    postgres_only.run("GRANT CREATE ON SCHEMA public TO PUBLIC")
    for theirs in ("has_schema_privilege(name, text)", "quote_ident(name)"):
        postgres_only.run(
            f"CREATE FUNCTION public.{theirs} RETURNS text LANGUAGE plpgsql"
            " AS $$ BEGIN RAISE EXCEPTION 'theirs was called'; END $$"
        )
    error = await refusal(postgres_only.url)
    assert (error.code, "REVOKE CREATE ON SCHEMA public FROM PUBLIC" in error.next) == (Code.MISCONFIGURED, True)
    postgres_only.run("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    postgres_only.run("DROP FUNCTION public.has_schema_privilege(name, text), public.quote_ident(name)")
    await (await Store.open(postgres_only.url, world="demo")).close()


async def test_a_role_that_may_not_make_tables_is_refused_and_one_that_may_only_use_them_is_enough(postgres_only, noon):
    for statement in ("DROP ROLE IF EXISTS user_of_rows", "CREATE ROLE user_of_rows LOGIN"):
        postgres_only.run(statement)
    url = postgres_only.url.replace("tests@", "user_of_rows@")
    assert "lacks the right" in (await refusal(url)).message
    await (await Store.open(postgres_only.url, world="demo")).close()
    assert "lacks a right" in (await refusal(url)).message
    postgres_only.run("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO user_of_rows")
    store = await Store.open(url, world="demo")
    captured = await Steps(store).completed()
    assert (await store.credentials.delete(captured.credential.id, at=noon, by=BY)).deleted_at == noon
    assert await store.sessions.due(later(1)) == []
    await store.close()
    postgres_only.run("DROP OWNED BY user_of_rows")
    postgres_only.run("DROP ROLE user_of_rows")
