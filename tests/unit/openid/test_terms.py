"""Who may come in: a closed list."""

import pytest

from antechamber.openid import Terms
from antechamber.settings import Settings

WHOLE = {"oidc_issuer": "https://issuer.example", "oidc_client_id": "antechamber", "oidc_client_secret": "DUMMY"}


def terms(**lists):
    return Terms.of(Settings(**WHOLE, **lists))


def test_without_an_issuer_there_are_no_terms():
    assert Terms.of(Settings(oidc_subjects="ann")) is None


def test_a_subject_is_let_in_by_exactly_its_own_word():
    chosen = terms(oidc_subjects="ann,4711")
    assert chosen.admit({"sub": "ann"})
    assert chosen.admit({"sub": "4711"})
    for other in ("Ann", "ann ", "an", "", 4711, None):
        assert not chosen.admit({"sub": other})


def test_an_email_decides_only_where_the_issuer_has_verified_it():
    chosen = terms(oidc_emails="Ann@Example.com")
    assert chosen.admit({"sub": "x", "email": "ann@example.com", "email_verified": True})
    assert chosen.admit({"sub": "x", "email": "ANN@EXAMPLE.COM", "email_verified": True})
    for unverified in (None, False, "true", 1, "yes"):
        assert not chosen.admit({"sub": "x", "email": "ann@example.com", "email_verified": unverified})
    assert not chosen.admit({"sub": "x", "email": "ann@example.com"})
    assert not chosen.admit({"sub": "x", "email": "bob@example.com", "email_verified": True})
    assert not chosen.admit({"sub": "ann@example.com", "email": None, "email_verified": True})


def test_no_letter_of_another_alphabet_becomes_one_of_ours():
    # a Kelvin sign in small letters is a k
    chosen = terms(oidc_emails="ken@example.com")
    assert not chosen.admit({"sub": "x", "email": "\u212aen@example.com", "email_verified": True})
    assert terms(oidc_emails="j\u00f6rg@example.com").admit(
        {"sub": "x", "email": "j\u00f6rg@example.com", "email_verified": True}
    )


@pytest.mark.parametrize("value", ["ops", ["people", "ops"], ["ops", 7, None]])
def test_a_claim_lets_in_by_any_of_its_values(value):
    assert terms(oidc_claim="groups", oidc_values="ops,admins").admit({"sub": "x", "groups": value})


@pytest.mark.parametrize(
    "value", [None, "", [], "people ops", "ops,admins", ["opsx"], [["ops"]], {"ops": True}, True, 1]
)
def test_a_claim_of_other_values_lets_nobody_in(value):
    assert not terms(oidc_claim="groups", oidc_values="ops").admit({"sub": "x", "groups": value})


def test_a_list_is_of_its_own_kind_alone():
    chosen = terms(oidc_subjects="ann", oidc_claim="groups", oidc_values="ops")
    assert not chosen.admit({"sub": "ops", "groups": ["ann"]})
    assert not chosen.admit({"sub": "x", "email": "ann", "email_verified": True})


def test_other_terms_have_another_digest_and_the_same_ones_the_same():
    one = terms(oidc_subjects="ann,bob")
    assert one.digest == terms(oidc_subjects="bob, ann").digest
    others = [
        terms(oidc_subjects="ann"),
        terms(oidc_emails="ann,bob"),
        terms(oidc_claim="ann", oidc_values="bob"),
        terms(oidc_claim="groups", oidc_values="ann,bob"),
        Terms.of(Settings(**WHOLE | {"oidc_client_id": "other"}, oidc_subjects="ann,bob")),
        Terms.of(Settings(**WHOLE | {"oidc_issuer": "https://issuer.example/"}, oidc_subjects="ann,bob")),
    ]
    assert len({one.digest, *(other.digest for other in others)}) == 1 + len(others)
