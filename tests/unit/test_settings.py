"""Settings: from the environment, whole or not at all."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from antechamber.errors import Code, OperatorError
from antechamber.settings import Settings, read_settings, unknown_names

HOSTILE = [
    *("1e400", "nan", "-inf", "9" * 5000, "0x10", "[::1]:99999", "http://[", "http://a:b@c/", "postgresql://[", "/\0x"),
    *("sqlite:////x", "https://DUMMY:DUMMY@example.com", "//example.com", "http://\u2100.example", "http://a:99999"),
]


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(f"ANTECHAMBER_{name.upper()}", raising=False)


def test_the_environment_is_read_and_what_is_given_wins(monkeypatch):
    monkeypatch.setenv("ANTECHAMBER_PORT", "9000")
    monkeypatch.setenv("ANTECHAMBER_GRACE_COMPLETED_S", "2.5")

    settings = read_settings(world="demo", port=0)

    assert (settings.world, settings.port) == ("demo", 0)
    assert settings.duration("grace_completed") == timedelta(seconds=2.5)
    assert read_settings().port == 9000


@pytest.mark.parametrize(
    ("given", "words"),
    [("", ()), ("a.example", ("a.example",)), (" a.example, 192.0.2.0/24 ,", ("a.example", "192.0.2.0/24"))],
)
def test_several_words_are_separated_by_commas(monkeypatch, given, words):
    monkeypatch.setenv("ANTECHAMBER_EGRESS_DENY", given)

    assert read_settings().egress_deny == words


@hypothesis_settings(max_examples=400, derandomize=True)
@given(st.sampled_from(sorted(Settings.model_fields)), st.text(max_size=40) | st.sampled_from(HOSTILE))
def test_whatever_a_setting_is_it_is_taken_or_refused_by_its_name_and_without_its_value(name, text):
    try:
        taken = read_settings(**{name: text})
    except OperatorError as error:
        refused = error
    else:
        assert taken == read_settings(**{name: text})
        return
    assert refused.code is Code.MISCONFIGURED
    assert f"ANTECHAMBER_{name.upper()}" in refused.message
    assert len(text) < 8 or text not in refused.message


def test_f068_every_fault_is_named_with_its_variable_and_none_with_its_value(monkeypatch):
    bad = {"PORT": "70000", "DATA_DIR": "relative", "DASHBOARD_URL": "ftp://DUMMY", "SWEEP_S": "-1", "DRIVERS": ","}
    for name, value in bad.items():
        monkeypatch.setenv(f"ANTECHAMBER_{name}", value)

    with pytest.raises(OperatorError) as caught:
        read_settings()

    assert caught.value.code is Code.MISCONFIGURED
    assert all(f"ANTECHAMBER_{name}: " in caught.value.message for name in bad)
    assert "DUMMY" not in caught.value.message


@pytest.mark.parametrize(
    "url", ["example.com", "ftp://example.com", "https://", "https://example.com/path", "https://ann@example.com"]
)
def test_f094_a_base_url_is_scheme_and_host_alone(url):
    with pytest.raises(OperatorError, match="without a path"):
        read_settings(sign_in_url=url)


def test_a_base_url_loses_its_last_slash():
    assert read_settings(sign_in_url="https://sign-in.example.com:8443/").sign_in_url == (
        "https://sign-in.example.com:8443"
    )


def test_settings_do_not_change():
    with pytest.raises(ValueError, match="frozen"):
        Settings().port = 1


def test_paths_stay_paths():
    assert read_settings(data_dir=Path("/srv/a b")).data_dir == Path("/srv/a b")


def test_a_variable_that_is_no_setting_is_said_with_the_one_that_is_meant():
    names = {"ANTECHAMBER_PROT": "1", "ANTECHAMBER_PORT": "1", "ANTECHAMBER_SERVICE_HOST": "x", "PATH": "x"}

    assert unknown_names(names) == [
        "ANTECHAMBER_PROT is no setting; is ANTECHAMBER_PORT meant?",
        "ANTECHAMBER_SERVICE_HOST is no setting",
    ]


def test_every_setting_has_a_description_and_a_valid_default():
    assert all(field.description for field in Settings.model_fields.values())
    assert Settings(**{name: field.default for name, field in Settings.model_fields.items()}) == Settings()


@pytest.mark.parametrize(
    ("given", "address"),
    [("127.0.0.1:9464", ("127.0.0.1", 9464)), ("[::1]:0", ("::1", 0)), ("metrics.example:80", ("metrics.example", 80))],
)
def test_the_listener_for_metrics_is_a_host_and_a_port(given, address):
    assert Settings(metrics_bind=given).metrics_address == address


@pytest.mark.parametrize("given", ["9464", ":9464", "127.0.0.1", "127.0.0.1:", "127.0.0.1:70000", "127.0.0.1:x"])
def test_an_address_for_metrics_without_host_or_port_is_refused(given):
    with pytest.raises(OperatorError, match="ANTECHAMBER_METRICS_BIND: must be HOST:PORT"):
        read_settings(metrics_bind=given)


def test_origins_that_may_embed_are_a_closed_list_in_the_browsers_own_form():
    given = "https://Builds.example.com, https://a.example:443,http://localhost:9000,https://[2001:DB8::1]:8443"
    assert Settings(embed_origins=given).embed_origins == (
        "https://builds.example.com",
        "https://a.example",
        "http://localhost:9000",
        "https://[2001:db8::1]:8443",
    )
    assert Settings().embed_origins == ()


@pytest.mark.parametrize(
    "origin",
    [
        *("*", "https://*", "https://*.example.com", "http://example.com", "https://a.example/", "https://a.example/x"),
        *("https://a.example?x", "https://a.example#", "https://u@a.example", "null", "'self'", "a.example", "https:"),
        *("https://a.example; script-src *", "https://a.example https://b.example", "data:", "https://a_b.example"),
        *("https://a.example:0", "https://a.example:99999", "https://1.2.3", "https://a.example,https://a.example:443"),
    ],
)
def test_what_is_no_origin_may_not_embed(origin):
    with pytest.raises(ValidationError):
        Settings(embed_origins=origin)


ISSUER = {"oidc_issuer": "https://issuer.example/realms/ops", "oidc_client_id": "antechamber"}
CLIENT = {**ISSUER, "oidc_client_secret": "DUMMY"}


def test_an_issuer_that_names_nobody_who_may_come_in_is_refused_with_what_to_do():
    with pytest.raises(OperatorError) as caught:
        read_settings(**CLIENT)
    assert "ANTECHAMBER_OIDC_VALUES: nobody may come in" in caught.value.message
    assert "ANTECHAMBER_OIDC_SUBJECTS" in caught.value.message


@pytest.mark.parametrize(
    "lists", [{"oidc_subjects": "ann"}, {"oidc_emails": "a@b.example"}, {"oidc_claim": "groups", "oidc_values": "ops"}]
)
def test_any_of_the_three_lists_is_enough(lists):
    assert read_settings(**CLIENT, **lists).oidc_issuer == ISSUER["oidc_issuer"]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"oidc_issuer": "http://issuer.example"}, "OIDC_ISSUER"),
        ({"oidc_issuer": "https://issuer.example?x"}, "OIDC_ISSUER"),
        ({"oidc_issuer": "https://issuer.example#x"}, "OIDC_ISSUER"),
        ({"oidc_issuer": "https://ann@issuer.example"}, "OIDC_ISSUER"),
        ({"oidc_issuer": "https://\u0456ssuer.example"}, "OIDC_ISSUER"),
        ({"oidc_issuer": "issuer.example"}, "OIDC_ISSUER"),
        ({"oidc_client_id": None}, "OIDC_CLIENT_ID"),
        ({"oidc_client_secret": None}, "OIDC_CLIENT_SECRET_FILE"),
        ({"oidc_client_secret_file": "/run/secret"}, "OIDC_CLIENT_SECRET_FILE"),
        ({"oidc_scopes": "email"}, "OIDC_SCOPES"),
        ({"oidc_claim": "groups"}, "OIDC_VALUES"),
        ({"oidc_values": "ops"}, "OIDC_VALUES"),
        ({"oidc_login_s": 0}, "OIDC_LOGIN_S"),
    ],
)
def test_what_does_not_make_a_whole_client_is_named(given, named):
    with pytest.raises(OperatorError, match=f"ANTECHAMBER_{named}: "):
        read_settings(**{**CLIENT, "oidc_subjects": "ann", **given})


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9000", "http://localhost:9000/x", "http://[::1]:9000", "https://a.b/"]
)
def test_an_issuer_is_kept_as_it_writes_itself(url):
    assert read_settings(**{**CLIENT, "oidc_issuer": url, "oidc_subjects": "ann"}).oidc_issuer == url


def test_the_clients_secret_is_taken_out_of_the_environment_and_shown_nowhere(monkeypatch):
    monkeypatch.setenv("ANTECHAMBER_OIDC_CLIENT_SECRET", "DUMMY-of-the-client")
    settings = read_settings(**ISSUER, oidc_subjects="ann")
    assert "ANTECHAMBER_OIDC_CLIENT_SECRET" not in os.environ
    assert settings.oidc_client_secret.reveal() == "DUMMY-of-the-client"
    assert "DUMMY" not in repr(settings)
