"""The vault's keys are rotated while the service goes on, and at whatever instant that ends everything opens."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from antechamber.errors import CallerError, Code, OperatorError
from antechamber.keys import Keys
from antechamber.model import Actor, Owner, Purpose
from antechamber.vault import Vault
from tests.integration.cli_scene import place
from tests.integration.scene import ADA, WHOLE, scene
from tests.opening import opened

BY = Actor.COMMAND_LINE


@pytest.fixture
async def stage(site):
    async with scene(site.folder, database_url=site.url, grace_completed_s=0, egress_after_capture_s=0) as opened_one:
        yield opened_one


@pytest.fixture
def keys(stage):
    return Keys(stage.store, stage.vault, stage.clock)


async def stored(stage, user_id):
    session, guest = await stage.awaiting(user_id=user_id)
    assert await guest.sign_in(WHOLE) is None
    await stage.until(session.id, "completed")


async def wrapped(keys):
    after, done = "", 0
    while True:
        step = await keys.rewrap(by=BY, after=after, limit=2)
        done, after = done + step.done, step.after
        if not after:
            return done, sum(one.credentials for one in await keys.list() if not one.seals)


async def test_after_a_rotation_every_credential_opens_with_the_new_key_alone(stage, keys):
    for user in ("ada", "bob", "cyd"):
        await stored(stage, user)
    first = stage.vault.key_id
    second = await keys.rotate()
    assert (stage.vault.key_id, await stage.store.key_id()) == (second, second)
    assert [(one.id, one.seals, one.credentials) for one in await keys.list()] == [(first, False, 3), (second, True, 0)]
    assert await wrapped(keys) == (3, 0)
    assert [(one.seals, one.credentials) for one in await keys.list()] == [(False, 0), (True, 3)]
    await keys.retire(first)
    await stage.restart()
    assert stage.vault.key_ids == (second,)
    for user in ("ada", "bob", "cyd"):
        assert b"DUMMY" in await opened(stage.signin, Owner(user), "codex")
    assert await wrapped(Keys(stage.store, stage.vault, stage.clock)) == (0, 0), "doing it again changes nothing"


async def test_each_data_key_that_was_opened_is_on_record(stage, keys):
    await stored(stage, "ada")
    await keys.rotate()
    await wrapped(keys)
    line = (await stage.store.audit.list())[-1]
    assert (line.actor, line.purpose, line.version) == (BY, Purpose.ROTATION, 1)


async def test_a_rotation_that_ended_after_any_step_is_gone_on_with(stage, keys):
    await stored(stage, "ada")
    first = stage.vault.key_id
    added = await keys.add()
    await stage.restart()  # a key that was only added
    keys = Keys(stage.store, stage.vault, stage.clock)
    assert stage.vault.key_id == first
    assert b"DUMMY" in await opened(stage.signin, ADA, "codex")
    assert await keys.rotate() == added, "it is taken, and no third one made"
    await stage.restart()  # a key that seals, and nothing wrapped with it yet
    keys = Keys(stage.store, stage.vault, stage.clock)
    assert stage.vault.key_id == added
    assert b"DUMMY" in await opened(stage.signin, ADA, "codex")
    await stored(stage, "bob")
    assert await wrapped(keys) == (1, 0)


async def test_sign_ins_go_on_during_a_rotation(stage, keys):
    sessions = [await stage.awaiting(user_id=f"user{number}") for number in range(4)]
    await stored(stage, "ada")

    async def rotating():
        for _ in range(3):
            await keys.rotate()
            await wrapped(keys)

    sending = [guest.sign_in(WHOLE) for _, guest in sessions]
    told = await asyncio.gather(rotating(), *sending)
    assert told[1:] == [None] * 4
    await wrapped(keys)
    assert {one.credentials for one in await keys.list() if not one.seals} == {0}
    for number in range(4):
        assert b"DUMMY" in await opened(stage.signin, Owner(f"user{number}"), "codex")


async def test_what_was_sealed_with_the_key_of_before_is_sealed_again_before_it_is_stored(stage, keys, monkeypatch):
    session, guest = await stage.awaiting()
    capture, rotated = stage.store.credentials.capture, []

    async def rotate_first(*given, **named):
        if not rotated:
            rotated.append(await keys.rotate())
        return await capture(*given, **named)

    monkeypatch.setattr(stage.store.credentials, "capture", rotate_first)
    assert await guest.sign_in(WHOLE) is None
    await stage.until(session.id, "completed")
    assert await stage.store.credentials.sealed_with() == {rotated[0]: 1}


async def test_a_key_that_is_needed_or_not_there_is_not_retired(stage, keys):
    await stored(stage, "ada")
    first = stage.vault.key_id
    for wrong, code in ((first, Code.KEY_NEEDED), ("key_00000000", Code.KEY_UNKNOWN)):
        with pytest.raises(CallerError) as refused:
            await keys.retire(wrong)
        assert refused.value.code is code
    await keys.rotate()
    with pytest.raises(CallerError) as refused:
        await keys.retire(first)
    assert refused.value.code is Code.KEY_NEEDED
    assert b"DUMMY" in await opened(stage.signin, ADA, "codex")


async def test_with_several_services_the_key_is_shared_first(tmp_path, postgres_url):
    async with scene(tmp_path, database_url=postgres_url) as one:
        (tmp_path / "other").mkdir()
        shutil.copy(tmp_path / "key", tmp_path / "other" / "key")
        async with scene(tmp_path / "other", database_url=postgres_url) as other:
            keys = Keys(one.store, one.vault, one.clock)
            with pytest.raises(CallerError) as refused:
                await keys.rotate()
            assert refused.value.code is Code.KEYS_NOT_SHARED
            added = await keys.add()
            shutil.copy(tmp_path / "key", tmp_path / "other" / "key")
            assert await keys.rotate() == added
            # the other one, not started again, takes the key as soon as it seals something
            sealed = other.signin
            session = await one.start()
            row = await _begun(one, other, session.id)
            guest = await (one if row.node == one.node_id else other).guests.get()
            assert await guest.sign_in(WHOLE) is None
            await one.until(session.id, "completed")
            assert await one.store.credentials.sealed_with() == {added: 1}
            for signin in (one.signin, sealed):
                assert b"DUMMY" in await opened(signin, ADA, "codex")


async def _begun(one, other, session_id):
    await one.until(session_id, "awaiting_sign_in")
    del other
    return await one.signin.machine(session_id)


async def test_a_service_whose_file_lacks_the_new_key_stores_a_sign_in_all_the_same(stage, tmp_path, capsys):
    session, guest = await stage.awaiting()
    lacking = tmp_path / "key of before"
    shutil.copy(stage.folder / "key", lacking)
    first = stage.vault.key_id
    await Keys(stage.store, stage.vault, stage.clock).rotate()
    stage.signin._vault = Vault.open(lacking, known_key_id=first, has_rows=True)
    assert await guest.sign_in(WHOLE) is None
    await stage.until(session.id, "completed")
    assert await stage.store.credentials.sealed_with() == {first: 1}
    assert "no root has the key that seals" in "".join(capsys.readouterr())


@pytest.mark.parametrize("answering", [True, False], ids=["asked_of_the_service", "done_in_the_store"])
async def test_the_command_line_rotates_and_says_what_is_left_to_do(answering):
    with place() as here:
        async with here.opened() as installation:
            await installation.complete("ada")
            await installation.complete("bob")
            if answering:
                async with installation.answering(here.data):
                    await rotated(here)
        if not answering:
            await rotated(here)
        async with here.opened() as installation:
            assert b"DUMMY" in await opened(installation.signin, ADA, "codex")


async def rotated(here):
    (before,) = (await here.says_meanwhile("keys", "list", "--json")).json
    assert (before["seals"], before["credentials"]) == (True, 2)
    said = await here.says_meanwhile("keys", "rotate")
    assert said.code == 0, said.err
    assert "seals from now on" in said.out
    assert "(2 were not)" in said.out
    assert before["id"] in said.err
    old, new = (await here.says_meanwhile("keys", "list", "--json")).json
    assert (old["id"], old["credentials"], new["seals"], new["credentials"]) == (before["id"], 0, True, 2)
    assert (await here.says_meanwhile("keys", "rotate", "--continue")).code == 0
    refused = await here.says_meanwhile("keys", "retire", new["id"], "--yes")
    assert refused.error()[2] == "key_needed"
    assert (await here.says_meanwhile("keys", "retire", old["id"], "--yes")).code == 0
    assert [one["id"] for one in (await here.says_meanwhile("keys", "list", "--json")).json] == [new["id"]]
    assert "seals" in (await here.says_meanwhile("keys", "list")).out
    added = (await here.says_meanwhile("keys", "add")).out.strip()
    assert [one["id"] for one in (await here.says_meanwhile("keys", "list", "--json")).json] == [new["id"], added]


async def test_a_service_that_did_not_hear_of_a_rotation_goes_by_what_the_database_names(stage, keys):
    await stored(stage, "ada")
    first = stage.vault.key_id
    stale = Keys(stage.store, Vault.open(stage.folder / "key", known_key_id=first, has_rows=True), stage.clock)
    second = await keys.rotate()
    await wrapped(keys)
    assert [(one.id, one.seals) for one in await stale.list()] == [(first, False), (second, True)]
    assert await wrapped(stale) == (0, 0), "nothing is wrapped with the key of before again"
    with pytest.raises(CallerError) as refused:
        await stale.retire(second)
    assert refused.value.code is Code.KEY_NEEDED
    await stale.retire(first)
    assert b"DUMMY" in await opened(stage.signin, ADA, "codex")


async def test_a_key_that_was_added_and_taken_out_of_the_file_again_is_not_the_next_one(stage, keys):
    await stored(stage, "ada")
    before = (stage.folder / "key").read_bytes()
    added = await keys.add()
    (stage.folder / "key").write_bytes(before)
    assert await keys.rotate() != added
    await wrapped(keys)
    await stage.restart()
    assert b"DUMMY" in await opened(stage.signin, ADA, "codex")


async def test_a_file_that_cannot_be_read_after_the_choice_is_said_and_nothing_is_retired(stage, keys, monkeypatch):
    await stored(stage, "ada")
    first, path = stage.vault.key_id, stage.folder / "key"
    promote = stage.store.promote_key

    async def then_exposed(*given):
        answer = await promote(*given)
        path.chmod(0o644)
        return answer

    monkeypatch.setattr(stage.store, "promote_key", then_exposed)
    for ask in (keys.rotate, keys.list, lambda: keys.rewrap(by=BY), lambda: keys.retire(first)):
        with pytest.raises(OperatorError) as refused:
            await ask()
        assert refused.value.code is Code.KEY_EXPOSED
    path.chmod(0o600)
    assert await wrapped(keys) == (1, 0)
    await stage.restart()
    assert b"DUMMY" in await opened(stage.signin, ADA, "codex")


async def test_a_running_service_reads_the_file_again_when_it_needs_a_key_that_it_does_not_know(stage, keys):
    await stored(stage, "ada")
    stale = Vault.open(stage.folder / "key", known_key_id=stage.vault.key_id, has_rows=True)
    await keys.rotate()
    await wrapped(keys)
    stage.signin._vault = stale
    assert b"DUMMY" in await opened(stage.signin, ADA, "codex")


async def test_a_key_file_that_is_away_in_the_moment_of_a_capture_costs_no_sign_in(stage, keys):
    session, guest = await stage.awaiting()
    first = stage.vault.key_id
    stale = Vault.open(stage.folder / "key", known_key_id=first, has_rows=True)
    await keys.rotate()
    stage.signin._vault = stale
    (stage.folder / "key").rename(stage.folder / "away")
    assert await guest.sign_in(WHOLE) is None
    await stage.until(session.id, "completed")
    (stage.folder / "away").rename(stage.folder / "key")


async def test_neither_a_start_nor_a_rollback_nor_a_backup_leaves_what_no_key_opens():
    with place() as here:
        async with here.opened() as installation:
            await installation.complete("ada")
        before = (here.data / "key").read_bytes()
        shutil.copy(here.data / "antechamber.db", here.data / "antechamber.db.before-0016")
        backup, vault = here.root / "backup", here.root / "vault"
        for folder in (backup, vault):
            folder.mkdir(mode=0o700)
        pair = ("--database", str(backup / "a.db"), "--key", str(vault / "key"))
        assert (await here.says_meanwhile("backup", *pair)).code == 0
        assert (await here.says_meanwhile("keys", "rotate")).code == 0
        again = await here.says_meanwhile("backup", *pair)
        assert again.code == 0, again.err
        assert (vault / "key").read_bytes() == (here.data / "key").read_bytes()
        alone = await here.says_meanwhile("backup", *pair[:2])
        old, new = (one["id"] for one in (await here.says_meanwhile("keys", "list", "--json")).json)
        assert f"It opens with {new}" in alone.out
        assert (await here.says_meanwhile("keys", "retire", old, "--yes")).code == 0
        kept = (backup / "a.db").read_bytes()
        assert (await here.says_meanwhile("backup", *pair)).error()[2] == "key_mismatch"
        assert (backup / "a.db").read_bytes() == kept, "the pair that there is stays one"
        refused = await here.says_meanwhile("database", "rollback", "--yes")
        assert refused.error()[2] == "key_mismatch"
        assert (await here.says_meanwhile("credentials", "list", "--json")).json
        (here.data / "key").write_bytes(before)
        assert (await here.says_meanwhile("credentials", "list")).error()[2] == "key_mismatch"
