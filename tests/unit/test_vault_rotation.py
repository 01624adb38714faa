"""Keys are added to the key file, chosen, and taken out, and what was sealed before opens all the while."""

from __future__ import annotations

import stat

import pytest

from antechamber.errors import Code, OperatorError, VaultError
from antechamber.model import SealIdentity
from antechamber.vault import Vault

ADA = SealIdentity("ins_1", "default", "ada", "codex", "cred_1", 1)
BOB = SealIdentity("ins_1", "default", "bob", "codex", "cred_2", 1)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "key"


@pytest.fixture
def vault(path):
    return Vault.open(path, known_key_id=None, has_rows=False)


def test_an_added_key_seals_nothing_until_it_is_chosen(vault, path):
    first = vault.key_id
    added = vault.add_key()
    assert added != first
    assert (vault.key_id, vault.key_ids) == (first, (first, added))
    assert vault.seal(b"DUMMY", ADA).key_id == first
    vault.reload(added)
    assert vault.seal(b"DUMMY", ADA).key_id == added
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["key"], "nothing is left beside it"


def test_what_was_sealed_before_opens_with_its_own_key_afterwards(vault):
    before = vault.seal(b"DUMMY", ADA)
    vault.reload(vault.add_key())
    assert vault.unseal(before, ADA) == b"DUMMY"


def test_the_database_says_which_key_seals_and_not_the_file(vault, path):
    first, added = vault.key_id, vault.add_key()
    for known in (first, added):
        again = Vault.open(path, known_key_id=known, has_rows=True)
        assert (again.key_id, again.seal(b"DUMMY", ADA).key_id) == (known, known)
    with pytest.raises(OperatorError) as refused:
        Vault.open(path, known_key_id="key_00000000", has_rows=True)
    assert refused.value.code is Code.KEY_MISMATCH


def test_a_data_key_that_is_wrapped_anew_opens_the_same_ciphertext_for_its_owner_alone(vault):
    before = vault.seal(b"DUMMY", ADA)
    vault.reload(added := vault.add_key())
    after = vault.rewrap(before, ADA)
    assert (after.key_id, after.ciphertext, after.format_version) == (added, before.ciphertext, before.format_version)
    assert after.wrapped_key != before.wrapped_key
    assert vault.unseal(after, ADA) == b"DUMMY"
    for sealed in (before, after):
        with pytest.raises(VaultError):
            vault.rewrap(sealed, BOB)
    with pytest.raises(VaultError):
        vault.unseal(after, BOB)


def test_every_wrapping_is_another_one(vault):
    sealed = vault.seal(b"DUMMY", ADA)
    assert len({vault.rewrap(sealed, ADA).wrapped_key for _ in range(20)}) == 20


def test_a_key_that_was_taken_out_opens_nothing_any_more_and_the_others_do(vault, path):
    first = vault.key_id
    old, moved = vault.seal(b"DUMMY old", ADA), vault.seal(b"DUMMY moved", BOB)
    vault.reload(added := vault.add_key())
    moved = vault.rewrap(moved, BOB)
    vault.remove_key(first)
    assert vault.key_ids == (added,)
    for opened in (vault, Vault.open(path, known_key_id=added, has_rows=True)):
        assert opened.unseal(moved, BOB) == b"DUMMY moved"
        with pytest.raises(VaultError, match=first):
            opened.unseal(old, ADA)


def test_the_key_that_seals_is_not_taken_out(vault):
    vault.add_key()
    with pytest.raises(ValueError, match="stays"):
        vault.remove_key(vault.key_id)
    assert len(vault.key_ids) == 2


def test_a_key_that_the_file_lacks_is_not_chosen_and_nothing_changes(vault):
    first = vault.key_id
    with pytest.raises(OperatorError) as refused:
        vault.reload("key_00000000")
    assert refused.value.code is Code.KEY_MISMATCH
    assert vault.seal(b"DUMMY", ADA).key_id == first


def test_what_cannot_be_written_whole_leaves_the_file_as_it_was(vault, path, monkeypatch):
    before = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OperatorError) as refused:
        vault.add_key()
    assert refused.value.code is Code.KEY_UNREADABLE
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == ["key"]
    assert len(vault.key_ids) == 1


def test_a_key_more_than_the_file_can_hold_is_refused_and_the_file_stays_as_it_is(vault, path, monkeypatch):
    monkeypatch.setattr("antechamber.vault.keyset.LARGEST", 1200)
    vault.add_key()
    vault.add_key()
    before = path.read_bytes()
    with pytest.raises(OperatorError, match="as many keys") as refused:
        vault.add_key()
    assert "retire" in refused.value.next
    assert path.read_bytes() == before
    assert Vault.open(path, known_key_id=vault.key_id, has_rows=True).key_ids == vault.key_ids


def test_a_key_file_that_is_away_is_said_and_what_is_open_stays_open(vault, path):
    path.rename(path.with_name("away"))
    for ask in (vault.add_key, lambda: vault.reload(vault.key_id), lambda: vault.remove_key("key_00000000")):
        with pytest.raises(OperatorError) as refused:
            ask()
        assert refused.value.code is Code.KEY_MISSING
    assert vault.unseal(vault.seal(b"DUMMY", ADA), ADA) == b"DUMMY"
