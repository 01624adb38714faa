"""A credential between and across sign-ins: the real reconciler, store and vault; only the machine is scripted."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime, timedelta

import pytest

from antechamber.credential_life import CredentialFact
from antechamber.errors import CallerError, Code, VaultError
from antechamber.model import (
    Claims,
    CredentialReason,
    CredentialStatus,
    IdPrefix,
    Purpose,
    Reason,
    Sealed,
    SessionStatus,
    new_id,
)
from tests.integration.scene import ADA, CheckGuest, scene
from tests.opening import BY
from tests.providers.samples import CODEX, dummy, token

CS, R = CredentialStatus, CredentialReason


def codex_of(account):
    """Return the files of a whole sign-in of that account; None: the file names none."""
    document = copy.deepcopy(CODEX)
    claims = {} if account is None else {"email": account}
    document["tokens"]["id_token"] = token(**claims)
    document["tokens"]["refresh_token"] = dummy(f"refresh-of-{account}")
    return {"credential": json.dumps(document).encode()}


ADAS, EVES = codex_of("ada@example.test"), codex_of("eve@example.test")


@pytest.fixture
async def stage(site):
    async with scene(site.folder, database_url=site.url) as stage:
        yield stage


async def connected(stage, files=ADAS, **wishes):
    session, guest = await stage.awaiting(**wishes)
    assert await guest.sign_in(files) is None
    await stage.machine_ended((await stage.until(session.id, SessionStatus.COMPLETED)).id)
    (credential,) = await stage.signin.credentials()
    return credential


async def opens(stage):
    """Return what the vault opens now of the one credential: its version, and whose refresh token is in it."""
    credential, bundle = await stage.signin.open_credential(ADA, "codex", purpose=Purpose.CHECK, by=BY)
    document = json.loads(json.loads(bundle)["files"]["credential"]["content"])
    return credential.version, document["tokens"]["refresh_token"]


async def cancelled(stage, session, guest):
    await stage.signin.cancel(session.id, by_person=True)


async def out_of_time(stage, session, guest):
    await stage.store.sessions.time_out(session.id, at=datetime.now(UTC) + timedelta(hours=1))


async def machine_lost(stage, session, guest):
    guest.crash(9)
    await stage.until(session.id, SessionStatus.FAILED)


async def of_another_account(stage, session, guest):
    assert await guest.sign_in(EVES) == Code.OTHER_ACCOUNT


async def cut_off(stage, session, guest):
    assert await guest.sign_in({"credential": b'{"tokens": {}}'}) == Code.CREDENTIAL_INCOMPLETE


async def key_away(stage, session, guest):
    class NoKey:
        def seal(self, *_):
            raise VaultError(Code.SEAL_FAILED, detail="the key is gone")

    vault, stage.signin._vault = stage.signin._vault, NoKey()
    try:
        assert await guest.sign_in(ADAS) == Code.SEAL_FAILED
    finally:
        stage.signin._vault = vault


async def replaced(stage, session, guest):
    await stage.start(replace=True)


ENDS = {
    cancelled: (SessionStatus.CANCELLED, Reason.CANCELLED_BY_PERSON),
    out_of_time: (SessionStatus.EXPIRED, Reason.NOBODY_CAME),
    machine_lost: (SessionStatus.FAILED, Reason.MACHINE_ENDED),
    of_another_account: (SessionStatus.FAILED, Reason.OTHER_ACCOUNT),
    cut_off: (SessionStatus.FAILED, Reason.CREDENTIAL_UNUSABLE),
    key_away: (SessionStatus.FAILED, Reason.CREDENTIAL_UNUSABLE),
    replaced: (SessionStatus.CANCELLED, Reason.SUPERSEDED),
}


@pytest.mark.parametrize("ends", ENDS, ids=lambda ends: ends.__name__)
async def test_however_a_sign_in_again_ends_the_version_before_opens_still(stage, ends):
    before = await connected(stage)
    session, guest = await stage.awaiting()
    await ends(stage, session, guest)
    ended = await stage.signin.session(session.id)
    assert (ended.status, ended.reason) == ENDS[ends]
    assert ended.captured_credential_id is None
    assert await stage.signin.credentials() == [before]
    assert await opens(stage) == (1, dummy("refresh-of-ada@example.test"))
    await stage.restart()
    assert await opens(stage) == (1, dummy("refresh-of-ada@example.test"))


async def test_another_account_takes_the_place_where_that_was_asked_for(stage):
    before = await connected(stage)
    after = await connected(stage, EVES, replace_account=True)
    assert (after.id, after.version, after.claims.account) == (before.id, 2, "eve@example.test")
    assert await opens(stage) == (2, dummy("refresh-of-eve@example.test"))


async def test_an_account_that_is_not_named_is_taken_and_that_it_was_not_is_told(stage):
    before = await connected(stage)
    after = await connected(stage, codex_of(None))
    assert (after.id, after.version, after.claims.account) == (before.id, 2, None)
    told = [event.fields.get("account") for event in (await stage.signin.life.story(after.id))[1]]
    assert told == ["first", "unknown"]


async def test_the_guest_of_a_refused_account_is_told_once_and_its_machine_ends(stage):
    await connected(stage)
    session, guest = await stage.awaiting()
    assert await guest.sign_in(EVES) == Code.OTHER_ACCOUNT
    assert await guest.sign_in(ADAS) == Code.CAPTURE_REFUSED
    await stage.machine_ended(session.id)
    assert (await stage.kinds(session.id)).count("sign_in_failed") == 1


async def test_a_check_moves_the_status_and_one_that_breaks_down_says_nothing(stage):
    credential = await connected(stage)
    for answer, status, reason in (
        (None, CS.ACTIVE, R.SIGNED_IN),
        (False, CS.NEEDS_SIGN_IN, R.CHECK_REFUSED),
        (None, CS.NEEDS_SIGN_IN, R.CHECK_REFUSED),
        (True, CS.ACTIVE, R.CHECK_ACCEPTED),
    ):
        stage.make_guest = lambda answer=answer: CheckGuest(accepted=answer)
        verdict = await stage.reconciler.checks.check(ADA, "codex", by=BY)
        assert verdict.answered is (answer is not None)
        known = await stage.signin.credential(credential.id)
        assert (known.status, known.status_reason) == (status, reason)


async def test_what_somebody_says_is_taken_and_a_sign_in_makes_it_good(stage):
    credential = await connected(stage)
    said = await stage.signin.life.say(credential.id, CredentialFact.VENDOR_REFUSED)
    assert (said.status, said.status_reason) == (CS.NEEDS_SIGN_IN, R.VENDOR_REFUSED)
    said = await stage.signin.life.say(credential.id, CredentialFact.SAID_REVOKED)
    assert (said.status, said.status_reason) == (CS.REVOKED, R.SAID_REVOKED)
    assert (await connected(stage)).status is CS.ACTIVE
    await stage.signin.delete_credential(credential.id, by=BY)
    with pytest.raises(CallerError) as refused:
        await stage.signin.life.say(credential.id, CredentialFact.SAID_REVOKED)
    assert refused.value.code is Code.CREDENTIAL_NOT_FOUND
    kinds = [event.kind for event in (await stage.signin.life.story(credential.id))[1]]
    assert kinds == ["captured", "vendor_refused", "said_revoked", "captured", "deleted"]


async def test_nobody_has_a_story_that_is_not_there(stage):
    with pytest.raises(CallerError) as refused:
        await stage.signin.life.story(new_id(IdPrefix.CREDENTIAL))
    assert refused.value.code is Code.CREDENTIAL_NOT_FOUND


async def lasting(stage, ends_in):
    """Store a credential that nothing can renew and that ends so soon."""
    session, _ = await stage.awaiting()
    captured = await stage.store.credentials.capture(
        session.id,
        credential_id=new_id(IdPrefix.CREDENTIAL),
        expected_version=0,
        sealed=Sealed(b"DUMMY", b"DUMMY", "key_00000001", 1),
        claims=Claims(ends_at=datetime.now(UTC) + timedelta(seconds=ends_in), renewable=False),
        report_id=new_id(IdPrefix.REPORT),
        at=datetime.now(UTC),
        any_key=True,
    )
    return captured.credential


async def until_status(stage, credential, status):
    with stage.store.changes.watch("credentials") as changed:
        while (known := await stage.store.credentials.get(credential.id)).status is not status:
            await changed.wait(0.5)
    return known


async def test_time_moves_it_by_the_reconcilers_own_looking_also_while_no_service_ran(stage):
    credential = await lasting(stage, 2)
    near = await until_status(stage, credential, CS.EXPIRING)
    assert near.status_reason is R.EXPIRY_NEAR
    await stage.restart()
    over = await until_status(stage, credential, CS.NEEDS_SIGN_IN)
    assert over.status_reason is R.EXPIRED
    assert over.status_at >= over.claims.ends_at
    kinds = [event.kind for event in (await stage.signin.life.story(credential.id))[1]]
    assert kinds == ["captured", "expiry_near", "expired"]


async def test_what_renews_itself_stays_active_whatever_its_access_token_says(stage):
    past = copy.deepcopy(CODEX)
    past["tokens"]["access_token"] = token(exp=int(datetime.now(UTC).timestamp()) - 60)
    credential = await connected(stage, {"credential": json.dumps(past).encode()})
    assert credential.claims.expires_at < datetime.now(UTC)
    assert (credential.claims.renewable, credential.claims.ends_at) == (True, None)
    assert await stage.signin.life.sweep() == 0
    assert (await stage.signin.credential(credential.id)).status is CS.ACTIVE
