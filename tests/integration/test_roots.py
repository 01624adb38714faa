"""Sign-ins with each kind of root: stored, opened, rotated and deleted while the service goes on."""

from __future__ import annotations

import pytest

from antechamber.errors import CallerError, Code
from antechamber.keys import Keys
from antechamber.model import Actor
from antechamber.settings import Settings
from tests.integration.scene import ADA, WHOLE, scene
from tests.opening import opened
from tests.roots import PEERS, made_of

BY = Actor.COMMAND_LINE


@pytest.fixture(params=list(PEERS))
def peer(request, tmp_path):
    return made_of(request.param, request, tmp_path)


async def stored(stage):
    session, guest = await stage.awaiting()
    assert await guest.sign_in(WHOLE) is None
    await stage.until(session.id, "completed")
    return await stage.signin.stored(ADA, "codex")


def with_settings(stage, **changed):
    """Return a service's settings with some changed, as at its next start."""
    return Settings(**{name: getattr(stage.settings, name) for name in Settings.model_fields} | changed)


async def wrapped(keys):
    after = ""
    while after := (await keys.rewrap(by=BY, after=after)).after:
        pass
    return {one.id: one.credentials for one in await keys.list()}


async def test_rotate_while_the_service_goes_on(peer, tmp_path):
    async with scene(tmp_path, grace_completed_s=0, egress_after_capture_s=0, **peer.settings) as stage:
        await stored(stage)
        first = stage.vault.key_id
        keys = Keys(stage.store, stage.vault, stage.clock)
        if peer.kind != "file":
            with pytest.raises(CallerError) as refused:
                await keys.rotate()
            assert refused.value.code is Code.KEYS_ELSEWHERE
            assert await stage.store.key_id() == first
            peer.add()
        if not stage.vault.next_root.shared:
            stage.settings = with_settings(stage, **peer.settings)
            await stage.restart()
            keys = Keys(stage.store, stage.vault, stage.clock)
        second = await keys.rotate()
        assert await wrapped(keys) == {first: 0, second: 1}
        peer.take_away(first)
        await stage.restart()
        assert b"DUMMY" in await opened(stage.signin, ADA, "codex")
        assert (await stored(stage)).version == 2


async def test_deleting_destroys_the_data_key(peer, tmp_path):
    async with scene(tmp_path, grace_completed_s=0, **peer.settings) as stage:
        credential = await stored(stage)
        _, sealed = await stage.store.credentials.sealed(credential.id)
        await stage.signin.delete_credential(credential.id, by=BY)
        assert await stage.store.credentials.sealed(credential.id) is None
        with pytest.raises(CallerError) as refused:
            await opened(stage.signin, ADA, "codex")
        assert refused.value.code is Code.CREDENTIAL_NOT_FOUND
        await stage.store.scrub()
        kept = b"".join(path.read_bytes() for path in tmp_path.glob("scene.db*"))
        assert sealed.wrapped_key not in kept
        assert sealed.ciphertext not in kept


@pytest.mark.parametrize("peer", [kind for kind in PEERS if kind != "file"], indirect=True)
async def test_move_while_the_service_goes_on(peer, tmp_path):
    moving = {**peer.settings, "roots": ("file", peer.kind)}
    async with scene(tmp_path, grace_completed_s=0, egress_after_capture_s=0) as stage:
        await stored(stage)
        old = stage.vault.key_id
        stage.settings = with_settings(stage, **moving)
        await stage.restart()
        assert stage.vault.key_id == old
        keys = Keys(stage.store, stage.vault, stage.clock)
        new = await keys.rotate()
        assert stage.vault.root.kind == peer.kind
        assert await wrapped(keys) == {old: 0, new: 1}
        await keys.retire(old)
        assert not (tmp_path / "key").exists()
        assert [one.id for one in await keys.list()] == [new]
        assert b"DUMMY" in await opened(stage.signin, ADA, "codex")
        stage.settings = with_settings(stage, **peer.settings)
        await stage.restart()
        assert b"DUMMY" in await opened(stage.signin, ADA, "codex")
        assert (await stored(stage)).version == 2
