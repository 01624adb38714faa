from __future__ import annotations

from contextlib import suppress
from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antechamber.errors import Code, VaultError
from antechamber.model import Sealed, SealIdentity
from antechamber.vault import Vault, associated_data

IDENTITY = SealIdentity("ins_1", "default", "ada", "codex", "cred_1", 3)
PLAIN = b'{"tokens": "DUMMY"}'


@pytest.fixture(scope="module")
def vault(tmp_path_factory) -> Vault:
    return Vault.open(tmp_path_factory.mktemp("key") / "key.json", known_key_id=None, has_rows=False)


def refusal(vault, sealed, identity=IDENTITY) -> VaultError:
    with pytest.raises(VaultError) as refused:
        vault.unseal(sealed, identity)
    assert refused.value.code is Code.OPEN_FAILED
    return refused.value


def test_what_was_sealed_opens_under_its_identity(vault):
    sealed = vault.seal(PLAIN, IDENTITY)
    assert vault.unseal(sealed, IDENTITY) == PLAIN
    assert (sealed.key_id, sealed.format_version) == (vault.key_id, 1)
    assert PLAIN not in sealed.ciphertext + sealed.wrapped_key


@pytest.mark.parametrize("plain", [b"", b"\x00", b"x" * 300_000])
def test_any_bytes_come_back(vault, plain):
    assert vault.unseal(vault.seal(plain, IDENTITY), IDENTITY) == plain


def test_each_sealing_has_a_data_key_of_its_own(vault):
    first, second = vault.seal(PLAIN, IDENTITY), vault.seal(PLAIN, IDENTITY)
    assert first.ciphertext != second.ciphertext
    assert first.wrapped_key != second.wrapped_key
    refusal(vault, replace(first, wrapped_key=second.wrapped_key))


@pytest.mark.parametrize("part", [field.name for field in fields(SealIdentity)])
def test_a_ciphertext_that_was_moved_does_not_open(vault, part):
    sealed = vault.seal(PLAIN, IDENTITY)
    other = 4 if part == "version" else getattr(IDENTITY, part) + "x"
    refusal(vault, sealed, replace(IDENTITY, **{part: other}))


def test_a_ciphertext_does_not_open_with_the_key_of_another_identity(vault):
    other = replace(IDENTITY, user_id="bob")
    mine, theirs = vault.seal(PLAIN, IDENTITY), vault.seal(b"DUMMY of bob", other)
    for identity in (IDENTITY, other):
        refusal(vault, replace(mine, wrapped_key=theirs.wrapped_key), identity)
        refusal(vault, replace(theirs, wrapped_key=mine.wrapped_key), identity)


@settings(deadline=None, max_examples=200)
@given(position=st.integers(min_value=0), bit=st.integers(0, 7))
def test_one_flipped_bit_anywhere_in_a_ciphertext_is_noticed(vault, position, bit):
    sealed = vault.seal(PLAIN, IDENTITY)
    refusal(vault, replace(sealed, ciphertext=flipped(sealed.ciphertext, position, bit)))


@settings(deadline=None, max_examples=200)
@given(position=st.integers(min_value=0), bit=st.integers(0, 7))
def test_one_flipped_bit_in_a_wrapped_key_never_opens_anything_else(vault, position, bit):
    sealed = vault.seal(PLAIN, IDENTITY)
    changed = replace(sealed, wrapped_key=flipped(sealed.wrapped_key, position, bit))
    # what lies in the library's public description of the key is not read to open it
    with suppress(VaultError):
        assert vault.unseal(changed, IDENTITY) == PLAIN


def flipped(raw: bytes, position: int, bit: int) -> bytes:
    changed = bytearray(raw)
    changed[position % len(raw)] ^= 1 << bit
    return bytes(changed)


@settings(deadline=None)
@given(keep=st.integers(0, 200), part=st.sampled_from(["ciphertext", "wrapped_key"]))
def test_what_was_cut_off_does_not_open(vault, keep, part):
    sealed = vault.seal(PLAIN, IDENTITY)
    whole = getattr(sealed, part)
    refusal(vault, replace(sealed, **{part: whole[: min(keep, len(whole) - 1)]}))


@settings(deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=200))
def test_arbitrary_bytes_do_not_open_and_raise_nothing_else(vault, ciphertext, wrapped_key):
    refusal(vault, Sealed(ciphertext, wrapped_key, vault.key_id, 1))


def test_a_key_or_format_that_is_not_ours_is_named(vault):
    sealed = vault.seal(PLAIN, IDENTITY)
    assert "key_ffffffff" in refusal(vault, replace(sealed, key_id="key_ffffffff")).detail
    assert "format 2" in refusal(vault, replace(sealed, format_version=2)).detail


def test_another_installations_key_does_not_open_it(vault, tmp_path):
    other = Vault.open(tmp_path / "key.json", known_key_id=None, has_rows=False)
    sealed = vault.seal(PLAIN, IDENTITY)
    refusal(other, sealed)
    refusal(other, replace(sealed, key_id=other.key_id))


def test_what_an_error_says_holds_nothing_of_the_credential(vault):
    error = refusal(vault, vault.seal(PLAIN, IDENTITY), replace(IDENTITY, version=9))
    assert "DUMMY" not in f"{error} {error.detail} {error.message}"


identities = st.builds(SealIdentity, *[st.text(max_size=6)] * 5, st.integers(0, 10**6))


@given(identities, identities, st.integers(1, 12), st.integers(1, 12))
def test_no_two_identities_are_bound_to_the_same_bytes(first, second, one, other):
    same = associated_data(first, one) == associated_data(second, other)
    assert same == ((first, one) == (second, other))


def test_lengths_keep_parts_apart_that_run_into_each_other():
    one = SealIdentity("i", "a", "bc", "p", "c", 1)
    assert associated_data(one, 1) != associated_data(replace(one, application="ab", user_id="c"), 1)


def test_the_encoding_is_the_one_that_stored_rows_were_sealed_with():
    expected = b"\x00\x00\x00\x011\x00\x00\x00\x05ins_1\x00\x00\x00\x07default\x00\x00\x00\x03ada"
    expected += b"\x00\x00\x00\x05codex\x00\x00\x00\x06cred_1\x00\x00\x00\x013"
    assert associated_data(IDENTITY, 1) == expected
