"""A report that the service fails to take, by a fault of its own: the session ends with a reason, and nothing loops."""

from __future__ import annotations

import json

import pytest

from antechamber.errors import Code, VaultError
from antechamber.guest.protocol import ReportKind
from antechamber.model import Reason, SessionStatus
from antechamber.testing.scripted_guest import SignInGuest
from tests.integration.scene import ADA, BUILD, WHOLE, scene
from tests.opening import opened
from tests.providers.samples import SAMPLES

HELD = "DUMMY-held-value"


class FaultyVault:
    """Fails at sealing as nobody foresaw, with an exception that holds what it worked on."""

    def seal(self, *_):
        return f"{HELD}\ud800".encode()


class FaultyStore:
    """Fails once at noting a fact, and is the real one in all else."""

    def __init__(self, store):
        self._store, self._broken = store, True

    @property
    def sessions(self):
        if self._broken:
            self._broken = False
            raise LookupError(HELD[:5])
        return self._store.sessions

    def __getattr__(self, name):
        return getattr(self._store, name)


async def test_a_capture_that_fails_by_a_fault_of_ours_fails_the_session_once_and_is_not_sent_again(tmp_path, capsys):
    async with scene(tmp_path) as stage:
        session, guest = await stage.awaiting()
        stage.signin._vault = FaultyVault()
        assert await guest.sign_in(WHOLE) == Code.INTERNAL
        failed = await stage.until(session.id, SessionStatus.FAILED)
        assert failed.reason is Reason.CREDENTIAL_UNUSABLE
        assert "UnicodeEncodeError" in failed.detail
        assert await stage.signin.credentials() == []
        await stage.machine_ended(session.id)
    logged = "".join(capsys.readouterr())
    assert logged.count("a report could not be taken") == 1
    assert "FaultyVault" in logged or "in seal" in logged
    assert HELD not in logged + failed.detail
    assert "task failed" not in logged


async def test_f013_another_report_that_fails_by_a_fault_of_ours_fails_the_session_too(tmp_path):
    async with scene(tmp_path) as stage:
        session, guest = await stage.awaiting()
        (attendant,) = stage.reconciler.live.attendants.values()
        attendant.live.errand._store = FaultyStore(stage.store)
        assert await guest.link.report(ReportKind.SCREEN_UP, {}) == Code.INTERNAL
        assert (await stage.until(session.id, SessionStatus.FAILED)).reason is Reason.MACHINE_BROKEN
        await stage.machine_ended(session.id)


@pytest.mark.parametrize("name", ["organizationName", "emailAddress"])
async def test_half_a_character_in_a_companion_does_not_cost_the_sign_in(tmp_path, capsys, name):
    files = SAMPLES["claude_code"]["whole"]
    settings = json.loads(files["settings"])
    settings["oauthAccount"][name] = HELD + "\ud800"
    async with scene(tmp_path) as stage:
        host = next(iter(stage.providers.get("claude_code").sign_in_hosts))
        stage.make_guest = lambda: SignInGuest(build=BUILD, page_host=host)
        session, guest = await stage.awaiting(provider="claude_code")
        sent = {"credential": files["credential"].encode(), "settings": json.dumps(settings).encode()}
        assert await guest.sign_in(sent) is None
        await stage.until(session.id, SessionStatus.COMPLETED)
        assert HELD.encode() not in await opened(stage.signin, ADA, "claude_code")
        await stage.machine_ended(session.id)
    logged = "".join(capsys.readouterr())
    assert f"oauthAccount.{name} is not Unicode" in logged
    assert HELD not in logged


async def test_a_vault_that_cannot_seal_fails_the_session_with_a_reason(tmp_path):
    class ClosedVault:
        def seal(self, *_):
            raise VaultError(Code.SEAL_FAILED, detail="the key is gone")

    async with scene(tmp_path) as stage:
        session, guest = await stage.awaiting()
        stage.signin._vault = ClosedVault()
        assert await guest.sign_in(WHOLE) == Code.SEAL_FAILED
        failed = await stage.until(session.id, SessionStatus.FAILED)
        assert failed.reason is Reason.CREDENTIAL_UNUSABLE
        assert "the key is gone" in failed.detail
        assert await stage.signin.credentials() == []


async def test_the_line_that_operators_watch_for_names_session_owner_and_provider(tmp_path, capsys):
    async with scene(tmp_path) as stage:
        session, guest = await stage.awaiting()
        await guest.sign_in(WHOLE)
        await stage.until(session.id, SessionStatus.COMPLETED)
    lines = [json.loads(line) for line in "".join(capsys.readouterr()).splitlines() if '"session completed"' in line]
    assert [(line["session"], line["owner"], line["provider"], line["level"]) for line in lines] == [
        (session.id, "ada", "codex", "info")
    ]


async def test_a_pass_that_fails_by_a_fault_of_ours_is_not_the_last_one(tmp_path, capsys):
    async with scene(tmp_path, sweep_s=0.1) as stage:
        beat = stage.node.beat
        beaten = []

        async def faulty():
            beaten.append(True)
            if len(beaten) == 1:
                raise LookupError("nobody foresaw it")
            await beat()

        stage.node.beat = faulty
        session, guest = await stage.awaiting()
        assert await guest.sign_in(WHOLE) is None
        await stage.until(session.id, SessionStatus.COMPLETED)
        await stage.machine_ended(session.id)
        assert len(beaten) > 1
    assert "".join(capsys.readouterr()).count("a pass failed by a fault of ours") == 1
