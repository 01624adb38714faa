"""The root key's service is away before, while and after something is captured, and no finished sign-in is lost."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

import pytest

from antechamber import app, doctor
from antechamber.errors import Code, OperatorError
from antechamber.keys import Keys
from antechamber.model import Actor, IdPrefix, SessionStatus, new_id
from antechamber.nodes import Node
from antechamber.places import Places
from antechamber.settings import Settings
from antechamber.vault import KeyFile, Vault
from tests.integration.cli_scene import place
from tests.integration.scene import ADA, WHOLE, scene, told
from tests.opening import opened
from tests.roots import TransitPeer, made_of

BY = Actor.COMMAND_LINE


@pytest.fixture
def peer(bao, tmp_path):
    return TransitPeer(tmp_path, bao)


def unheard(stage):
    """Have the service not have heard from its root for a while."""
    stage.vault._answered_at = stage.vault._refused_at = float("-inf")


async def sealed(stage):
    session, guest = await stage.awaiting()
    assert await guest.sign_in(WHOLE) is None
    return await stage.until(session.id, SessionStatus.COMPLETED)


def begun(work):
    return asyncio.get_running_loop().create_task(work)


async def test_before_a_sign_in_is_refused_and_begun_again_when_the_root_is_back(peer, bao, tmp_path):
    async with scene(tmp_path, **peer.settings) as stage:
        faults = app._faults(app.Tools(), stage.vault)
        assert await faults() == []
        with bao.sealed():
            unheard(stage)
            with pytest.raises(OperatorError) as refused:
                await stage.start()
            assert (refused.value.code, refused.value.retryable) == (Code.ROOT_UNAVAILABLE, True)
            assert refused.value.http_status == 503
            assert await stage.signin.sessions() == []
            (said,) = await faults()
            assert said.startswith("The root key's service cannot be reached")
        unheard(stage)
        assert await faults() == []
        await sealed(stage)


async def test_while_it_is_away_a_finished_sign_in_waits_and_is_stored_when_it_is_back(peer, bao, tmp_path, capsys):
    async with scene(tmp_path, **peer.settings) as stage:
        session, guest = await stage.awaiting()
        with bao.sealed():
            guest.write_file(WHOLE)
            sending = begun(guest.sign_in(WHOLE))
            said = await told(capsys, "a report waits")
            assert Code.ROOT_UNAVAILABLE in said
            # its time is over meanwhile, and the last look waits for what is in hand
            stage.clock.ahead = timedelta(seconds=stage.settings.nobody_came_s + 1)
            await told(capsys, "a report waits", "a report waits")
            assert (await stage.signin.session(session.id)).status is SessionStatus.AWAITING_SIGN_IN
            assert await stage.signin.credentials() == []
        assert await sending is None, "the report is taken, not refused"
        await stage.until(session.id, SessionStatus.COMPLETED)
        assert b"DUMMY" in await opened(stage.signin, ADA, "codex")


async def test_while_it_hangs_the_service_goes_on_with_everything_else(peer, bao, tmp_path, capsys):
    peer.within = 0.5
    async with scene(tmp_path, **peer.settings) as stage:
        session, guest = await stage.awaiting()
        other, _ = await stage.awaiting(user_id="bob")
        with bao.hanging():
            sending = begun(guest.sign_in(WHOLE))
            async with asyncio.timeout(5):
                await stage.signin.cancel(other.id, by_person=True)
                await stage.until(other.id, SessionStatus.CANCELLED)
            await told(capsys, "a report waits")
        assert await sending is None
        await stage.until(session.id, SessionStatus.COMPLETED)


async def test_while_kms_hangs_a_finished_sign_in_waits_too(request, tmp_path, capsys):
    peer = made_of("kms", request, tmp_path)
    async with scene(tmp_path, **peer.settings | {"root_s": 0.5}) as stage:
        session, guest = await stage.awaiting()
        with peer.at.hanging():
            sending = begun(guest.sign_in(WHOLE))
            assert Code.ROOT_UNAVAILABLE in await told(capsys, "a report waits")
        assert await sending is None
        await stage.until(session.id, SessionStatus.COMPLETED)
        assert b"DUMMY" in await opened(stage.signin, ADA, "codex")


async def test_a_first_start_names_no_key_that_does_not_work(request, tmp_path):
    peer = made_of("kms", request, tmp_path)
    good, peer.keys = peer.keys, [peer.keys[0][:-12] + "0" * 12]
    folders = {name: tmp_path / name for name in ("data", "run", "shared")}
    places = Places(**folders)
    with pytest.raises(OperatorError) as refused:
        async with app.open_store(Settings(world="demo", **peer.settings), places):
            pass
    assert refused.value.code is Code.ROOT_UNAVAILABLE
    peer.keys = good
    async with app.open_store(Settings(world="demo", **peer.settings), places) as (store, vault):
        assert await store.key_id() == vault.key_id == good[0]


async def test_while_it_is_away_the_person_may_still_stop(peer, bao, tmp_path, capsys):
    async with scene(tmp_path, **peer.settings) as stage:
        session, guest = await stage.awaiting()
        with bao.sealed():
            sending = begun(guest.sign_in(WHOLE))
            await told(capsys, "a report waits")
            await stage.signin.cancel(session.id, by_person=True)
        await stage.machine_ended(session.id)
        sending.cancel()
        assert (await stage.signin.session(session.id)).status is SessionStatus.CANCELLED
        assert await stage.signin.credentials() == []


async def test_after_a_capture_it_opens_nothing_until_it_is_back_and_nothing_is_lost(peer, bao, tmp_path):
    async with scene(tmp_path, **peer.settings) as stage:
        await sealed(stage)
        with bao.sealed():
            with pytest.raises(OperatorError) as refused:
                await opened(stage.signin, ADA, "codex")
            assert refused.value.code is Code.ROOT_UNAVAILABLE
        assert b"DUMMY" in await opened(stage.signin, ADA, "codex")


async def test_a_service_that_was_ended_meanwhile_stores_it_when_both_are_back(peer, bao, tmp_path, capsys):
    async with scene(tmp_path, **peer.settings) as stage:
        session, guest = await stage.awaiting()
        with bao.sealed():
            guest.write_file(WHOLE)
            sending = begun(guest.sign_in(WHOLE))
            await told(capsys, "a report waits")
            await stage.close()
            with pytest.raises(OperatorError) as refused:
                await stage.open_store()
            assert refused.value.code is Code.ROOT_UNAVAILABLE
            await stage.store.close()
        await stage.open()
        assert await sending is None
        await stage.until(session.id, SessionStatus.COMPLETED)


async def test_a_rotation_that_it_interrupts_is_gone_on_with(peer, bao, tmp_path):
    async with scene(tmp_path, **peer.settings) as stage:
        await sealed(stage)
        first = stage.vault.key_id
        peer.add()
        keys = Keys(stage.store, stage.vault, stage.clock)
        second = await keys.rotate()
        with bao.sealed(), pytest.raises(OperatorError) as refused:
            await keys.rewrap(by=BY)
        assert refused.value.code is Code.ROOT_UNAVAILABLE
        assert await stage.store.credentials.sealed_with() == {first: 1}
        assert (await keys.rewrap(by=BY)).done == 1
        assert await stage.store.credentials.sealed_with() == {second: 1}


async def test_a_key_that_may_not_be_used_is_not_named(peer, tmp_path):
    async with scene(tmp_path) as stage:
        first = stage.vault.key_id
    moving = peer.settings | {"roots": ("file", "transit")}
    peer.paths = [f"transit/keys/{peer.name}"]
    peer.give_token()
    async with scene(tmp_path, **moving) as stage:
        with pytest.raises(OperatorError) as refused:
            await Keys(stage.store, stage.vault, stage.clock).rotate()
        assert refused.value.code is Code.ROOT_UNAVAILABLE
        assert (await stage.store.key_id(), stage.vault.key_id) == (first, first)
        await sealed(stage)


async def test_a_service_whose_idea_of_the_key_is_old_seals_with_the_one_that_is_named(peer, tmp_path):
    async with scene(tmp_path, **peer.settings) as stage:
        await sealed(stage)
        stale = stage.signin._vault = peer.vault(stage.vault.key_id)
        peer.add()
        second = await Keys(stage.store, stage.vault, stage.clock).rotate()
        assert stale.key_id != second
        session, guest = await stage.awaiting()
        assert await guest.sign_in(WHOLE) is None
        await stage.until(session.id, SessionStatus.COMPLETED)
        assert await stage.store.credentials.sealed_with() == {second: 1}
        assert b"DUMMY" in await opened(stage.signin, ADA, "codex")


async def test_a_key_that_was_named_meanwhile_is_waited_for_and_not_passed_over(peer, bao, tmp_path, capsys):
    async with scene(tmp_path):
        pass
    async with scene(tmp_path, **peer.settings | {"roots": ("file", "transit")}) as stage:
        session, guest = await stage.awaiting()
        roots = [KeyFile(tmp_path / "key"), peer.root()]
        stale = Vault.of(roots, known_key_id=stage.vault.key_id, has_rows=True)
        new = await Keys(stage.store, stage.vault, stage.clock).rotate()
        stage.signin._vault = stale
        with bao.sealed():
            sending = begun(guest.sign_in(WHOLE))
            assert Code.ROOT_UNAVAILABLE in await told(capsys, "a report waits")
            assert await stage.signin.credentials() == []
        assert await sending is None
        await stage.until(session.id, SessionStatus.COMPLETED)
        assert await stage.store.credentials.sealed_with() == {new: 1}


async def test_services_that_share_the_engine_share_a_new_key_at_once(peer, tmp_path):
    peer.give_token(f"transit/keys/{peer.name}/rotate")
    async with scene(tmp_path, **peer.settings) as stage:
        await Node(stage.store, new_id(IdPrefix.NODE), name="another", url=None, clock=stage.clock).join()
        assert len(await stage.signin.nodes()) == 2
        keys = Keys(stage.store, stage.vault, stage.clock)
        first = stage.vault.key_id
        added = await keys.add()
        assert peer.vault(first).key_ids == (first, added)
        assert await keys.rotate() == added
        third = await keys.rotate()
        assert third not in {first, added}
        assert peer.vault(third).key_ids == (first, added, third)


async def test_the_doctor_says_whether_it_wraps_and_unwraps(peer, bao, tmp_path):
    places = Places(data=tmp_path, run=tmp_path, shared=tmp_path)
    check = doctor._root_check(peer.root(), places, alone=True)
    assert (check.name, check.ok) == ("root transit", True)
    assert "wraps and unwraps" in check.message
    peer.paths = peer.paths[1:]
    peer.give_token()
    check = doctor._root_check(peer.root(), places, alone=True)
    assert (check.ok, "HTTP 403" in check.message) == (False, True)
    with bao.sealed():
        check = doctor._root_check(peer.root(), places, alone=True)
        assert (check.ok, "HTTP 503" in check.message) == (False, True)


async def test_the_doctor_says_what_a_move_leaves_and_what_is_not_installed(tmp_path, monkeypatch):
    places = Places(data=tmp_path, run=tmp_path, shared=tmp_path)
    places.database.touch()
    key = "arn:aws:kms:eu-central-1:123456789012:key/0cfcdb7f"
    for roots, fatal in (("file", True), ("file,environment", False)):
        check = (await doctor._roots(Settings(roots=roots), places))[0]
        assert (check.name, check.ok, check.fatal) == ("key file", False, fatal)
    monkeypatch.setitem(sys.modules, "boto3.session", None)
    (check,) = await doctor._roots(Settings(roots="kms", kms_keys=key), places)
    assert (check.name, check.ok, check.fatal) == ("roots", False, True)
    assert "antechamber[kms]" in check.remedy


async def test_the_command_line_moves_the_keys_there_and_back_to_a_file(bao):
    with place() as here:
        async with here.opened() as installation:
            await installation.complete("ada")
        folder = here.root / "bao"
        folder.mkdir()
        peer = TransitPeer(folder, bao)
        there = peer.environment

        async def says(*words, roots):
            said = await here.says_meanwhile(*words, **there | {"ANTECHAMBER_ROOTS": roots})
            assert said.code == 0, said.err
            return said

        old, new = (await says("keys", "list", "--json", roots="file,transit")).json
        assert [(one["root"], one["seals"]) for one in (old, new)] == [("file", True), ("transit", False)]
        await says("keys", "rotate", roots="file,transit")
        await says("keys", "retire", old["id"], "--yes", roots="file,transit")
        assert not (here.data / "key").exists()
        (only,) = (await says("keys", "list", "--json", roots="transit")).json
        assert (only["id"], only["credentials"]) == (f"transit:transit/{peer.name}:v1", 1)
        for words in (("keys", "list"), ("credentials", "list")):
            refused = await here.says_meanwhile(*words)
            assert refused.error()[2] == "key_missing"
        backup = here.root / "backup"
        backup.mkdir(mode=0o700)
        await says("backup", "--database", str(backup / "a.db"), roots="transit")
        key = await here.says_meanwhile("backup", "--key", str(backup / "key"), **there)
        assert key.error()[2] == "misconfigured"
        await says("restore", "--database", str(backup / "a.db"), "--replace", roots="transit")
        await says("keys", "rotate", roots="transit,file")
        retired = await here.says_meanwhile(
            "keys", "retire", only["id"], "--yes", **there | {"ANTECHAMBER_ROOTS": "transit,file"}
        )
        assert retired.error()[2] == "keys_elsewhere"
        (back,) = (await here.says_meanwhile("keys", "list", "--json")).json
        assert (back["root"], back["credentials"]) == ("file", 1)
        async with here.opened() as installation:
            assert b"DUMMY" in await opened(installation.signin, ADA, "codex")
