from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from antechamber.errors import CallerError, Code, OperatorError
from antechamber.model import AuthSession, Fields, Owner, Secret, SessionStatus
from antechamber.settings import Settings
from antechamber.web.access import same_secret
from antechamber.web.addresses import Addresses, Site
from antechamber.web.bodies import Start
from antechamber.web.cookies import sent
from antechamber.web.events import last_event_id, message
from antechamber.web.seats import offered_ticket
from antechamber.web.views import PollView

AT = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.mark.parametrize("status", SessionStatus)
def test_the_predecessors_poll_has_a_word_for_every_status(status):
    session = AuthSession(
        id="ses_00000000000000000000",
        owner=Owner("ada"),
        provider="codex",
        status=status,
        fields=Fields(),
        created_at=AT,
        status_at=AT,
        expires_at=None,
        machine_id="mac_00000000000000000000",
    )
    word = PollView.of(session, None).status
    wanted = {
        SessionStatus.COMPLETED: "ready",
        SessionStatus.FAILED: "failed",
        SessionStatus.CANCELLED: "cancelled",
        SessionStatus.EXPIRED: "expired",
    }
    assert word == wanted.get(status, "pending")


@pytest.mark.parametrize(
    ("dashboard", "sign_in"),
    [
        ("http://localhost:1", "http://localhost:2"),
        ("https://ante.example", "https://ANTE.example"),
        ("https://ante.example", "http://ante.example:8080"),
    ],
)
def test_two_sites_with_one_host_name_are_refused_because_cookies_ignore_ports(dashboard, sign_in):
    settings = Settings(dashboard_url=dashboard, sign_in_url=sign_in)
    with pytest.raises(OperatorError) as caught:
        Addresses.of(settings, 8700)
    assert caught.value.code is Code.MISCONFIGURED


def test_without_settings_the_two_names_of_this_computer_are_the_two_sites():
    addresses = Addresses.of(Settings(), 8700)
    assert addresses.dashboard.origin == "http://127.0.0.1:8700"
    assert addresses.sign_in.origin == "http://localhost:8700"
    assert addresses.sign_in.websocket_origin == "ws://localhost:8700"
    assert not addresses.sign_in.secure


def test_a_default_port_is_left_out_as_browsers_do():
    site = Site("https://Ante.Example:443")
    assert (site.origin, site.websocket_origin) == ("https://ante.example", "wss://ante.example")
    assert site.answers("ante.example")
    assert site.answers("ante.example:443")
    assert not site.answers("ante.example:80")
    assert not site.answers("ante.example:443:443")
    assert not Site("http://localhost:8700").answers("localhost:8700:80")
    assert Site("http://[::1]").answers("[::1]:80")
    assert not Site("http://[::1]").answers("::1:80")


@given(st.text(max_size=140))
def test_f098_a_user_id_is_printable_text_of_1_to_128_characters_or_refused(text):
    try:
        start = Start(user_id=text, provider="codex")
    except ValidationError:
        assert not 1 <= len(text) <= 128 or not text.isprintable() or text != text.strip()
    else:
        assert start.user_id == text
        assert 1 <= len(text) <= 128
        assert not any(ord(character) < 32 or ord(character) == 127 for character in text)


@given(st.text(max_size=60), st.sampled_from(["", "https://", "http://", "https://example.com", "http://localhost"]))
def test_a_return_url_never_leads_to_a_script_or_over_plain_http_to_another_computer(text, prefix):
    try:
        url = Start(user_id="ada", provider="codex", return_url=prefix + text).return_url
    except ValidationError:
        return
    assert url.lower().startswith(("https://", "http://localhost", "http://127.0.0.1", "http://[::1]"))
    assert url.isprintable()
    assert "\\" not in url


@given(st.text(max_size=60))
def test_a_last_event_id_is_a_number_that_the_database_can_hold(text):
    assert 0 <= last_event_id(text) < 2**63


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_a_last_event_id_comes_back_as_it_was_sent(number):
    assert last_event_id(str(number)) == number


def test_a_message_of_the_stream_is_one_block():
    assert message('{"a":1}', seq=7) == b'id: 7\ndata: {"a":1}\n\n'
    assert message("{}", name="end") == b"event: end\ndata: {}\n\n"


@pytest.mark.parametrize(
    "offers",
    [[], ["binary"], ["ticket.x"], ["binary", "ticket."], ["binary", "ticket.x", "ticket.y"], ["Binary", "ticket.x"]],
)
def test_a_screen_is_asked_for_with_binary_and_one_ticket(offers):
    with pytest.raises(CallerError) as caught:
        offered_ticket(offers)
    assert caught.value.code is Code.TICKET_NOT_VALID


def test_the_offered_ticket_is_a_secret():
    assert offered_ticket(["ticket.DUMMY", "binary"]).reveal() == "DUMMY"
    assert "DUMMY" not in repr(offered_ticket(["binary", "ticket.DUMMY"]))


def test_only_values_that_we_could_have_given_are_read_from_cookies():
    value = "A" * 43
    headers = [
        (b"cookie", f"other=1; mine={value}; mine=short; mine={value};mine={'x' * 200}; mine2={value}".encode()),
        (b"cookie", f"mine={value[:-1]}é".encode("latin-1")),
    ]
    assert sent({"headers": headers}, "mine") == [Secret(value), Secret(value)]
    many = [(b"cookie", "; ".join(f"mine={value}" for _ in range(500)).encode())]
    assert len(sent({"headers": many}, "mine")) == 4


def test_tokens_are_the_same_only_when_they_are_equal():
    assert same_secret(Secret("é"), Secret("é"))
    assert not same_secret(Secret("a"), Secret("b"))
    assert not same_secret(Secret(""), Secret("b"))


def test_origins_may_embed_only_a_page_that_can_keep_a_cookie_in_a_frame():
    listed = {"embed_origins": ("https://a.example",), "dashboard_url": "https://dashboard.ante.example"}
    for url in ("https://sign-in.ante.example", "http://localhost:9000", None):
        assert Addresses.of(Settings(**listed, sign_in_url=url), 8700).sign_in
    with pytest.raises(OperatorError) as caught:
        Addresses.of(Settings(**listed, sign_in_url="http://sign-in.ante.example"), 8700)
    assert caught.value.code is Code.MISCONFIGURED
    assert Addresses.of(Settings(sign_in_url="http://sign-in.ante.example"), 8700).sign_in
