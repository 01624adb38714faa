from __future__ import annotations

import re

import pytest

from antechamber.errors import (
    CATALOGUE,
    AntechamberError,
    CallerError,
    Code,
    MachineError,
    OperatorError,
    ProviderError,
    VaultError,
)

KINDS = (CallerError, OperatorError, MachineError, ProviderError, VaultError)


def test_f100_every_code_has_its_meaning_and_nothing_else_has():
    assert CATALOGUE.keys() == set(Code)


@pytest.mark.parametrize("code", Code)
def test_a_meaning_is_a_status_of_an_error_and_two_sentences(code):
    meaning = CATALOGUE[code]
    assert 400 <= meaning.http_status <= 599
    assert re.fullmatch(r"[A-Z].*\.", meaning.message)
    assert re.fullmatch(r"\S.*\.", meaning.next)


@pytest.mark.parametrize("code", Code)
def test_no_meaning_shows_a_path_an_address_or_a_secret(code):
    meaning = CATALOGUE[code]
    assert not re.search(r"/(home|root|var|tmp|etc)\b|https?://|\d+\.\d+\.\d+", meaning.message + meaning.next)


def test_codes_are_stable_words():
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in Code)


@pytest.mark.parametrize("kind", KINDS)
def test_each_error_is_one_of_ours_and_of_no_other_kind(kind):
    error = kind(Code.INTERNAL)
    assert isinstance(error, AntechamberError)
    assert [other for other in KINDS if isinstance(error, other)] == [kind]


def test_an_error_says_what_its_code_means():
    error = CallerError(Code.SESSION_NOT_FOUND)
    meaning = CATALOGUE[Code.SESSION_NOT_FOUND]
    assert (error.code, error.message, error.next) == (Code.SESSION_NOT_FOUND, meaning.message, meaning.next)
    assert (error.http_status, error.retryable) == (404, False)


def test_a_more_exact_message_replaces_the_catalogues_and_detail_stays_apart():
    error = CallerError(Code.UNKNOWN_FIELD, message="There is no field `x`.", next_step="Remove it.", detail="DUMMY")
    assert (error.message, error.next, error.detail) == ("There is no field `x`.", "Remove it.", "DUMMY")
    assert "DUMMY" not in error.message + error.next
    assert "DUMMY" in str(error)


def test_only_what_can_succeed_later_without_a_change_is_retryable():
    assert {code for code in Code if CATALOGUE[code].retryable} == {
        Code.OWNER_BEING_ERASED,
        Code.TICKET_NOT_VALID,
        Code.SCREEN_NOT_READY,
        Code.WRONG_NODE,
        Code.OWNER_LIVE_LIMIT,
        Code.OWNER_START_LIMIT,
        Code.TOO_OFTEN,
        Code.REVEAL_LIMIT,
        Code.OWNER_RUN_LIMIT,
        Code.RUN_LIMIT,
        Code.APPLICATION_LIVE_LIMIT,
        Code.APPLICATION_START_LIMIT,
        Code.LIVE_LIMIT,
        Code.START_LIMIT,
        Code.OWNER_RUN_LIMIT,
        Code.RUN_LIMIT,
        Code.STORE_UNAVAILABLE,
        Code.ROOT_UNAVAILABLE,
        Code.ISSUER_UNAVAILABLE,
        Code.SHUTTING_DOWN,
        Code.INTERNAL,
        Code.MACHINE_DID_NOT_START,
    }
