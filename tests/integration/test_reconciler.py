"""Sessions and machines through the real reconciler, store, vault and link; only the machine is scripted."""

import asyncio

import pytest

from antechamber.errors import CallerError, Code, OperatorError
from antechamber.machine import MachineSpec
from antechamber.model import IdPrefix, MachineState, Reason, SessionStatus, new_id
from antechamber.testing.scripted_guest import SignInGuest
from tests.integration.scene import ADA, BUILD, PAGE_HOST, WHOLE, CheckGuest, scene
from tests.opening import BY, opened


async def test_a_session_completes_and_stays_completed_after_its_machine_is_gone(site):
    async with scene(site.folder, database_url=site.url) as stage:
        session, guest = await stage.awaiting()
        assert await guest.sign_in(WHOLE) is None
        done = await stage.until(session.id, SessionStatus.COMPLETED)
        row = await stage.machine_ended(session.id)
        after = await stage.signin.session(session.id)
        assert row.state is MachineState.GONE
        assert (after.status, after.captured_version) == (SessionStatus.COMPLETED, 1)
        assert after.captured_credential_id == done.captured_credential_id
        assert b"DUMMY" in await opened(stage.signin, ADA, "codex")
        assert not stage.host.running()


async def test_f001_f002_a_machine_that_ends_with_code_1_right_after_the_capture_changes_nothing(site):
    async with scene(site.folder, database_url=site.url) as stage:
        session, guest = await stage.awaiting()
        assert await guest.sign_in(WHOLE) is None
        guest.crash(1)
        row = await stage.machine_ended(session.id)
        after = await stage.signin.session(session.id)
        assert row.exit_code == 1
        assert after.status is SessionStatus.COMPLETED
        assert "machine_ended" in await stage.kinds(session.id)


async def test_a_machine_that_ends_in_mid_sign_in_fails_its_session_with_that_reason(site):
    async with scene(site.folder, database_url=site.url) as stage:
        session, guest = await stage.awaiting()
        guest.crash(3)
        failed = await stage.until(session.id, SessionStatus.FAILED)
        assert failed.reason is Reason.MACHINE_ENDED
        assert (await stage.machine_ended(session.id)).state is MachineState.LOST


async def test_a_machine_that_ends_while_it_boots_did_not_start(site):
    async with scene(site.folder, database_url=site.url) as stage:
        stage.make_guest = lambda: SignInGuest(build=BUILD)
        session = await stage.start()
        (await stage.guests.get()).crash(1)
        assert (await stage.until(session.id, SessionStatus.FAILED)).reason is Reason.MACHINE_DID_NOT_START


async def test_the_second_report_of_one_credential_changes_nothing(site):
    async with scene(site.folder, database_url=site.url) as stage:
        session, guest = await stage.awaiting()
        assert await guest.sign_in(WHOLE) is None
        assert await guest.sign_in(WHOLE) is None
        assert [credential.version for credential in await stage.signin.credentials()] == [1]
        assert (await stage.kinds(session.id)).count("captured") == 1


async def test_a_capture_for_a_cancelled_session_is_refused_and_nothing_is_stored(site):
    async with scene(site.folder, database_url=site.url, stop_s=5) as stage:
        session, guest = await stage.awaiting()
        both = asyncio.gather(
            stage.signin.cancel(session.id, by_person=True), guest.sign_in(WHOLE), return_exceptions=True
        )
        cancelled, refused = await both
        after = await stage.signin.session(session.id)
        if after.status is SessionStatus.CANCELLED:
            # the machine may have ended before it could hear of it
            assert refused in {"capture_refused", None} or isinstance(refused, asyncio.CancelledError)
            assert await stage.signin.credentials() == []
        assert cancelled.status is after.status


async def test_cancelling_ends_the_machine_at_once(site):
    async with scene(site.folder, database_url=site.url, grace_failed_s=60, grace_completed_s=60) as stage:
        session, _ = await stage.awaiting()
        await stage.signin.cancel(session.id, by_person=True)
        row = await stage.machine_ended(session.id)
        assert row.state is MachineState.GONE
        with pytest.raises(CallerError) as refused:
            await stage.signin.cancel(session.id, by_person=True)
        assert refused.value.code is Code.SESSION_ENDED


async def test_a_tool_that_gives_up_fails_the_session_and_says_its_last_lines_to_the_log_only(site):
    async with scene(site.folder, database_url=site.url) as stage:
        session, guest = await stage.awaiting()
        await guest.end_cli(7, "something \x1b[31mwent wrong")
        failed = await stage.until(session.id, SessionStatus.FAILED)
        assert failed.reason is Reason.CLI_ENDED
        assert "something went wrong" in failed.detail
        assert "\x1b" not in failed.detail


async def test_f058_a_tool_that_gives_up_before_its_person_is_started_again_and_completes(site):
    async with scene(site.folder, database_url=site.url, again_s=60) as stage:
        session, guest = await stage.awaiting()
        await stage.signin.screen_seen(session.id)
        await guest.end_cli(1, "something \x1b[31mwent wrong")
        waiting = await stage.signin.session(session.id)
        assert (waiting.status, waiting.cli_said) == (SessionStatus.AWAITING_SIGN_IN, "something went wrong")
        await stage.signin.again(session.id, 1)
        await guest.again.wait()
        assert await guest.sign_in(WHOLE) is None
        done = await stage.until(session.id, SessionStatus.COMPLETED)
        assert (done.attempt, done.reason) == (2, None)


async def test_a_tool_that_nobody_starts_again_has_failed_in_bounded_time(site):
    async with scene(site.folder, database_url=site.url, again_s=1) as stage:
        session, guest = await stage.awaiting()
        await stage.signin.screen_seen(session.id)
        await guest.end_cli(1, "something went wrong")
        failed = await stage.until(session.id, SessionStatus.FAILED)
        assert failed.reason is Reason.CLI_ENDED
        assert "something went wrong" in failed.detail


async def test_a_service_that_is_started_again_has_the_tool_started_again_that_was_asked_for(site):
    async with scene(site.folder, database_url=site.url, again_s=60) as stage:
        session, guest = await stage.awaiting()
        await stage.signin.screen_seen(session.id)
        await guest.end_cli(1, "something went wrong")
        await stage.reconciler.close()
        # the click is in the database, and nobody is there to tell the machine
        await stage.signin.again(session.id, 1)
        await stage.store.close()
        await stage.open()
        await guest.again.wait()
        assert await guest.sign_in(WHOLE) is None
        await stage.until(session.id, SessionStatus.COMPLETED)


async def test_a_tool_that_ends_after_the_capture_changes_nothing(site):
    async with scene(site.folder, database_url=site.url) as stage:
        session, guest = await stage.awaiting()
        await guest.sign_in(WHOLE)
        await guest.end_cli(1, "killed")
        await stage.machine_ended(session.id)
        assert (await stage.signin.session(session.id)).status is SessionStatus.COMPLETED


@pytest.mark.parametrize(
    "content", [b"{}", b"[1, 2]", b"not json", b'{"tokens": {"id_token": 7}}', b"\xff\xfe", b"{" * 5000]
)
async def test_a_credential_of_another_shape_fails_the_session_and_stores_nothing(site, content):
    async with scene(site.folder, database_url=site.url) as stage:
        session, guest = await stage.awaiting()
        assert await guest.sign_in({"credential": content}) in {
            Code.CREDENTIAL_INCOMPLETE,
            Code.CREDENTIAL_MALFORMED,
        }
        failed = await stage.until(session.id, SessionStatus.FAILED)
        assert failed.reason is Reason.CREDENTIAL_UNUSABLE
        assert await stage.signin.credentials() == []


async def test_a_browser_without_its_sandbox_is_refused(site):
    async with scene(site.folder, database_url=site.url) as stage:
        stage.make_guest = lambda: SignInGuest(build=BUILD, page_host=PAGE_HOST, sandbox=False)
        session = await stage.start()
        assert (await stage.until(session.id, SessionStatus.FAILED)).reason is Reason.SANDBOX_OFF


async def test_f056_a_guest_of_another_build_is_refused(site):
    async with scene(site.folder, database_url=site.url) as stage:
        stage.make_guest = lambda: SignInGuest(build="of yesterday", page_host=PAGE_HOST)
        session = await stage.start()
        assert (await stage.until(session.id, SessionStatus.FAILED)).reason is Reason.GUEST_VERSION


async def test_a_sign_in_goes_on_in_its_machine_after_an_upgrade(site):
    async with scene(site.folder, database_url=site.url) as stage:
        waiting, guest = await stage.awaiting()
        other, finished = await stage.awaiting(user_id="bob")
        await stage.close()
        sending = asyncio.get_running_loop().create_task(finished.sign_in(WHOLE))
        stage.build = "of tomorrow"
        await stage.open()
        await stage.until(other.id, SessionStatus.COMPLETED)
        assert await sending is None
        assert await guest.sign_in(WHOLE) is None
        await stage.until(waiting.id, SessionStatus.COMPLETED)
        # while what the upgraded service begins itself has its own guest
        stage.make_guest = lambda: SignInGuest(build=BUILD, page_host=PAGE_HOST)
        begun = await stage.start(user_id="eve")
        assert (await stage.until(begun.id, SessionStatus.FAILED)).reason is Reason.GUEST_VERSION


async def test_f061_a_machine_whose_page_never_opens_fails_when_its_time_is_over(site):
    async with scene(site.folder, database_url=site.url, start_s=1) as stage:
        stage.make_guest = lambda: SignInGuest(build=BUILD)
        session = await stage.start()
        failed = await stage.until(session.id, SessionStatus.FAILED)
        assert failed.reason is Reason.MACHINE_DID_NOT_START
        assert (await stage.machine_ended(session.id)).state is MachineState.GONE


async def test_f058_nobody_came(site):
    async with scene(site.folder, database_url=site.url, nobody_came_s=0.5) as stage:
        session, _ = await stage.awaiting()
        assert (await stage.until(session.id, SessionStatus.EXPIRED)).reason is Reason.NOBODY_CAME


async def test_f025_the_sign_in_clock_starts_when_the_screen_is_first_seen(site):
    async with scene(site.folder, database_url=site.url, nobody_came_s=60, sign_in_s=0.5) as stage:
        session, _ = await stage.awaiting()
        await stage.signin.screen_seen(session.id)
        assert (await stage.until(session.id, SessionStatus.EXPIRED)).reason is Reason.SIGN_IN_TIMED_OUT


async def test_f026_a_whole_file_that_nobody_told_of_is_found_before_the_session_expires(site):
    async with scene(site.folder, database_url=site.url, nobody_came_s=0.5) as stage:
        session, guest = await stage.awaiting()
        guest.write_file(WHOLE)
        done = await stage.until(session.id, SessionStatus.COMPLETED, SessionStatus.EXPIRED)
        assert done.status is SessionStatus.COMPLETED


async def test_f017_a_restarted_service_finds_the_machine_and_the_sign_in_completes(site):
    async with scene(site.folder, database_url=site.url) as stage:
        session, guest = await stage.awaiting()
        await stage.restart()
        assert (await stage.signin.session(session.id)).status is SessionStatus.AWAITING_SIGN_IN
        assert await guest.sign_in(WHOLE) is None
        await stage.until(session.id, SessionStatus.COMPLETED)
        assert (await stage.machine_ended(session.id)).state is MachineState.GONE


async def test_f063_a_restarted_service_lets_a_booting_machine_become_ready(site):
    async with scene(site.folder, database_url=site.url) as stage:
        gate = asyncio.Event()

        class Slow(SignInGuest):
            async def __call__(self, guest):
                await gate.wait()
                return await super().__call__(guest)

        stage.make_guest = lambda: Slow(build=BUILD, page_host=PAGE_HOST)
        session = await stage.start()
        await stage.guests.get()
        await stage.restart()
        gate.set()
        await stage.until(session.id, SessionStatus.AWAITING_SIGN_IN)


async def test_a_machine_that_ended_while_the_service_was_away_is_told_truly(site):
    async with scene(site.folder, database_url=site.url) as stage:
        session, guest = await stage.awaiting()
        await stage.close()
        guest.crash(9)
        await stage.open()
        failed = await stage.until(session.id, SessionStatus.FAILED)
        assert failed.reason is Reason.MACHINE_ENDED
        assert (await stage.machine_ended(session.id)).exit_code == 9


async def test_f075_a_machine_that_no_row_asks_for_is_reclaimed_before_anything_starts(site):
    async with scene(site.folder, database_url=site.url) as stage:
        machine_id, incarnation = new_id(IdPrefix.MACHINE), new_id(IdPrefix.INCARNATION)
        driver = stage.reconciler.driver
        handle = driver.plan(machine_id, incarnation, host_uid=None)
        await (await driver.start(MachineSpec(machine_id, incarnation), handle)).let_go()
        assert stage.host.running()
        await stage.restart()
        assert not stage.host.running()
        assert not list(await driver.found())


async def test_signing_in_again_keeps_the_id_and_raises_the_version(site):
    async with scene(site.folder, database_url=site.url) as stage:
        for version in (1, 2):
            session, guest = await stage.awaiting()
            await guest.sign_in(WHOLE)
            done = await stage.until(session.id, SessionStatus.COMPLETED)
            assert done.captured_version == version
        (credential,) = await stage.signin.credentials()
        assert credential.id == done.captured_credential_id


async def test_rejecting_deletes_the_captured_version_and_ends_the_machine_at_once(site):
    async with scene(site.folder, database_url=site.url, grace_completed_s=60) as stage:
        session, guest = await stage.awaiting()
        await guest.sign_in(WHOLE)
        await stage.until(session.id, SessionStatus.COMPLETED)
        await stage.signin.reject(session.id)
        assert await stage.signin.credentials() == []
        after = await stage.signin.session(session.id)
        assert after.status is SessionStatus.COMPLETED
        assert after.rejected_at
        await stage.machine_ended(session.id)


async def test_after_a_later_sign_in_the_earlier_one_can_no_longer_be_rejected(site):
    async with scene(site.folder, database_url=site.url) as stage:
        session, guest = await stage.awaiting()
        await guest.sign_in(WHOLE)
        again, guest = await stage.awaiting()
        await guest.sign_in(WHOLE)
        await stage.until(again.id, SessionStatus.COMPLETED)
        with pytest.raises(CallerError) as refused:
            await stage.signin.reject(session.id)
        assert refused.value.code is Code.NOT_REJECTABLE
        assert len(await stage.signin.credentials()) == 1


async def test_the_grace_ends_at_once_when_the_page_has_shown_success(site):
    async with scene(site.folder, database_url=site.url, grace_completed_s=60) as stage:
        session, guest = await stage.awaiting()
        await guest.sign_in(WHOLE)
        await asyncio.wait_for(guest.captured.wait(), 5)
        await stage.signin.success_shown(session.id)
        assert (await stage.machine_ended(session.id)).state is MachineState.GONE


async def test_f106_a_replaced_session_is_cancelled_as_superseded_and_its_machine_ends(site):
    async with scene(site.folder, database_url=site.url) as stage:
        first, _ = await stage.awaiting()
        second, _ = await stage.awaiting(replace=True)
        old = await stage.signin.session(first.id)
        assert (old.status, old.reason) == (SessionStatus.CANCELLED, Reason.SUPERSEDED)
        assert second.id != first.id
        await stage.machine_ended(first.id)


async def test_a_stored_credential_is_checked_in_a_machine_of_its_own(site):
    async with scene(site.folder, database_url=site.url) as stage:
        session, guest = await stage.awaiting()
        await guest.sign_in(WHOLE)
        await stage.machine_ended(session.id)
        stage.make_guest = CheckGuest
        verdict = await stage.reconciler.checks.check(ADA, "codex", by=BY)
        assert verdict.accepted, verdict
        assert verdict.by.startswith("codex login status")
        assert not stage.host.running()


async def test_checks_are_done_one_after_another_however_many_are_asked_for(site):
    async with scene(site.folder, database_url=site.url) as stage:
        session, guest = await stage.awaiting()
        await guest.sign_in(WHOLE)
        await stage.machine_ended(session.id)
        most = 0

        async def counted(guest):
            nonlocal most
            most = max(most, len(stage.host.running()))
            return await CheckGuest()(guest)

        stage.make_guest = lambda: counted
        verdicts = await asyncio.gather(*(stage.reconciler.checks.check(ADA, "codex", by=BY) for _ in range(5)))
        assert all(verdict.accepted for verdict in verdicts)
        assert most == 1


async def test_a_check_that_cannot_be_asked_for_keeps_nothing_of_the_credential(site, monkeypatch):
    async with scene(site.folder, database_url=site.url) as stage:
        session, guest = await stage.awaiting()
        await guest.sign_in(WHOLE)
        await stage.machine_ended(session.id)
        asked = []

        async def away(**given):
            asked.append(given["machine_id"])
            raise OperatorError(Code.STORE_UNAVAILABLE)

        with monkeypatch.context() as patched:
            patched.setattr(stage.store.machines, "create_check", away)
            with pytest.raises(OperatorError):
                await stage.reconciler.checks.check(ADA, "codex", by=BY)
        assert stage.reconciler.checks.errand(asked[0]) is None
        stage.make_guest = CheckGuest
        assert (await stage.reconciler.checks.check(ADA, "codex", by=BY)).accepted, "the next one has its turn"


async def test_checking_what_is_not_there_is_said(site):
    async with scene(site.folder, database_url=site.url) as stage:
        with pytest.raises(CallerError) as missing:
            await stage.reconciler.checks.check(ADA, "codex", by=BY)
        assert missing.value.code is Code.CREDENTIAL_NOT_FOUND


async def test_of_a_machine_that_is_not_found_yet_it_is_not_said_that_its_screen_has_ended(site):
    async with scene(site.folder, database_url=site.url) as stage:
        session, _ = await stage.awaiting()
        stage.host.unreachable = True
        await stage.restart()
        assert not stage.reconciler.live.input_ended(session.id).is_set()
        with pytest.raises(CallerError) as refused:
            await stage.reconciler.live.open_screen(session.id)
        assert refused.value.code is Code.SCREEN_NOT_READY
        stage.host.unreachable = False


async def test_the_input_ends_with_the_capture(site):
    async with scene(site.folder, database_url=site.url) as stage:
        session, guest = await stage.awaiting()
        ended = stage.reconciler.live.input_ended(session.id)
        assert not ended.is_set()
        await guest.sign_in(WHOLE)
        await asyncio.wait_for(ended.wait(), 5)
        with pytest.raises(CallerError):
            await stage.reconciler.live.open_screen(session.id)
