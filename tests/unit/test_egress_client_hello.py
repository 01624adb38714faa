from __future__ import annotations

import contextlib
import hashlib
import ssl

import pytest
import trustme
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from tests.unit.tls_hellos import (
    EARLY_DATA,
    ENCRYPTED_CLIENT_HELLO,
    SERVER_NAME,
    SUPPORTED_VERSIONS,
    body,
    extension,
    hello,
    message,
    named,
    names,
    record,
    records,
    vector,
)

from antechamber.egress.client_hello import MOST_HELD, MOST_MESSAGE, MOST_RECORDS, HelloError, Opening
from antechamber.testing.scripted_guest import client_hello

NAME = "login.some.dev"
MESSAGE = message(body(names((0, NAME.encode()))))
VERSIONS = extension(SUPPORTED_VERSIONS, vector(1, b"\3\4\3\3"))
OUTER, INNER = b"\0" + b"\0\1\0\1\7" + vector(2, bytes(32)) + vector(2, bytes(144)), b"\1"


def fed(chunks, name=NAME) -> tuple[Opening, bytes]:
    opening = Opening(name)
    return opening, b"".join(opening.take(chunk) for chunk in chunks)


def refusal(sent: bytes, name=NAME) -> str:
    """Feed it byte by byte and at once: both are refused, for the same reason, and nothing goes on."""
    whys = {why_refused(chunks, name) for chunks in ([sent], singly(sent))}
    assert len(whys) == 1
    return whys.pop()


def why_refused(chunks, name) -> str:
    opening = Opening(name)
    for chunk in chunks:
        try:
            assert opening.take(chunk) == b""
        except HelloError as error:
            assert not opening.right
            with pytest.raises(HelloError, match=str(error)):
                opening.take(record(MESSAGE))
            return str(error)
    pytest.fail("it was not refused")


def singly(sent: bytes) -> list[bytes]:
    return [sent[at : at + 1] for at in range(len(sent))]


def context(version: ssl.TLSVersion) -> ssl.SSLContext:
    made = ssl.create_default_context()
    made.minimum_version = made.maximum_version = version
    made.set_alpn_protocols(["h2", "http/1.1"])
    return made


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("size", [1, 2, 5, 6, 100, 100_000])
def test_a_real_hello_goes_on_byte_for_byte_once_it_is_whole_however_it_comes(version, size):
    sent = client_hello(NAME, context(version))
    chunks = [sent[at : at + size] for at in range(0, len(sent), size)]
    opening, before = fed(chunks[:-1])
    assert (before, opening.right) == (b"", False)
    assert opening.held == sum(map(len, chunks[:-1]))
    assert opening.take(chunks[-1]) == sent
    assert opening.right
    assert opening.held == 0


def test_what_follows_a_hello_goes_on_with_it_and_after_it():
    sent = client_hello(NAME) + record(b"\1", kind=20) + record(b"encrypted", kind=23)
    opening, passed = fed([sent])
    assert passed == sent
    assert opening.take(b"any") == b"any"
    assert opening.take(record(MESSAGE) + b"thing") == record(MESSAGE) + b"thing"


@pytest.mark.parametrize("count", [2, 3, MOST_RECORDS])
def test_a_hello_may_be_split_over_records(count):
    sent = records(MESSAGE, most=-(-len(MESSAGE) // count))
    assert sent.count(b"\x16\x03\x01") >= min(count, 3)
    for chunks in ([sent], singly(sent)):
        assert fed(chunks)[1] == sent


def test_a_hello_of_more_than_a_packet_goes_on():
    # a key share with ML-KEM-768 is 1216 bytes
    share = extension(51, vector(2, b"\x11\xec" + vector(2, bytes(1216))))
    sent = named(NAME.encode(), share, extension(21, bytes(9000)))
    assert fed([sent[:1400], sent[1400:]])[1] == sent


def test_a_hello_of_the_longest_length_goes_on_and_one_byte_more_does_not():
    room = MOST_MESSAGE - len(MESSAGE) - 4
    longest = message(body(names((0, NAME.encode())), extension(21, bytes(room))))
    assert len(longest) == MOST_MESSAGE
    assert fed([records(longest, most=2**14)])[1] == records(longest, most=2**14)
    longer = message(body(names((0, NAME.encode())), extension(21, bytes(room + 1))))
    assert refusal(records(longer, most=2**14)) == "the ClientHello is too long"


@pytest.mark.parametrize("said", ["LOGIN.Some.DEV", "login.some.dev.", "Login.some.dev."])
def test_the_name_may_differ_in_case_and_in_its_final_dot(said):
    assert fed([named(said.encode())])[0].right


def test_a_name_of_other_letters_is_sent_in_its_ascii_form():
    assert fed([named(b"xn--bcher-kva.de")], "xn--bcher-kva.de")[0].right
    assert refusal(named("bücher.de".encode()), "xn--bcher-kva.de") == "the server name is no host name"


@pytest.mark.parametrize(
    "said",
    [
        b"other.dev",
        b"some.dev",
        b"a.login.some.dev",
        b"login.some.de",
        b"login.some.dev.other.dev",
        b"login-some.dev",
        b"xlogin.some.dev",
    ],
)
def test_another_name_is_refused(said):
    assert refusal(named(said)) == "the server name is another than the name asked for"


@pytest.mark.parametrize(
    "said",
    [
        b"login.some.dev\0",
        b"login.some.dev\0.other.dev",
        b"\0login.some.dev",
        b"login.some.dev..",
        b"login.some.dev ",
        b"login.some.dev:443",
        b"*.some.dev",
        b".",
        b"",
        b"login.some.dev\xff",
        "\u217cogin.some.dev".encode(),
        b"93.184.216.34",
        b"\x08\x08\x08\x08",
        b"[2600::1]",
        b"a" * 300 + b".dev",
        b"l\xc3\xb6gin.some.dev",
    ],
)
def test_what_is_no_host_name_is_refused(said):
    assert refusal(named(said)) == "the server name is no host name"


def test_a_hello_without_a_server_name_is_refused():
    assert refusal(hello(extension(16, b""))) == "the ClientHello has no server name"
    assert refusal(hello()) == "the ClientHello has no server name"
    without_extensions = record(message(body()[:-2]))
    assert refusal(without_extensions) == "the ClientHello has no server name"


def test_two_names_are_refused_whichever_is_the_right_one():
    why = "the ClientHello has several server names"
    right, wrong = (0, NAME.encode()), (0, b"other.dev")
    assert refusal(hello(names(right, wrong))) == why
    assert refusal(hello(names(wrong, right))) == why
    assert refusal(hello(names(right, right))) == why
    assert refusal(hello(names(right, (1, b"x")))) == why


def test_two_extensions_of_one_kind_are_refused():
    right, wrong = names((0, NAME.encode())), names((0, b"other.dev"))
    for twice in ((right, wrong), (wrong, right), (right, right), (right, extension(16, b""), extension(16, b""))):
        assert refusal(hello(*twice)) == "the ClientHello has an extension twice"


def test_a_name_of_another_kind_is_refused():
    assert refusal(hello(names((1, NAME.encode())))) == "the server name is no host name"
    assert refusal(hello(names((255, NAME.encode())))) == "the server name is no host name"


LIES = {
    "an empty list": extension(SERVER_NAME, vector(2, b"")),
    "no list": extension(SERVER_NAME, b""),
    "a list without its name": extension(SERVER_NAME, vector(2, b"\0")),
    "a list that is longer than it is": extension(SERVER_NAME, b"\0\x20" + b"\0" + vector(2, NAME.encode())),
    "a list that is shorter than it is": extension(SERVER_NAME, b"\0\x05" + b"\0" + vector(2, NAME.encode())),
    "a name that is longer than it is": extension(SERVER_NAME, vector(2, b"\0\xff\xff" + NAME.encode())),
    "bytes after the list": extension(SERVER_NAME, vector(2, b"\0" + vector(2, NAME.encode())) + b"\0"),
    "an extension that is longer than it is": b"\0\0\xff\xff",
    "half an extension": b"\0",
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_lengths_that_lie_are_refused(lie):
    assert refusal(hello(lie)).startswith(("a length", "the ClientHello has several"))


def test_parts_of_impossible_length_are_refused():
    right = names((0, NAME.encode()))
    wrong = [
        hello(right, session_id=bytes(33)),
        hello(right, suites=b""),
        hello(right, suites=b"\x13\x01\x13"),
        hello(right, compressions=b""),
        record(message(body(right) + b"\0")),
        record(message(body(right)[:-1])),
        record(message(b"")),
        record(message(body(right)[:34])),
    ]
    for sent in wrong:
        assert refusal(sent) == "a length in the ClientHello is wrong"


@pytest.mark.parametrize("content", [OUTER, INNER, b"", b"\2"])
def test_a_hello_that_may_hide_another_name_is_refused_whatever_it_says_in_the_clear(content):
    ech = extension(ENCRYPTED_CLIENT_HELLO, content)
    assert refusal(named(NAME.encode(), ech)) == "the ClientHello may hide another"
    assert refusal(named(b"front.some.dev", ech)) != ""
    assert refusal(hello(ech)) == "the ClientHello has no server name"


def test_a_second_hello_that_may_hide_another_name_is_refused():
    opening, _ = fed([named(NAME.encode(), VERSIONS)])
    with pytest.raises(HelloError, match="may hide another"):
        opening.take(named(NAME.encode(), VERSIONS, extension(ENCRYPTED_CLIENT_HELLO, OUTER)))


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: login.some.dev\r\n\r\n",
        b"SSH-2.0-x\r\n",
        b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10" + bytes(40),  # an SSLv2 hello
        b"\0",
        record(b"\x02\x28", kind=21),
        record(b"\x01", kind=20),
        record(MESSAGE, kind=23),
        record(MESSAGE, version=0x0201),
        record(MESSAGE, version=0xFEFF),
        record(b""),
        b"\x16\x03\x01\x40\x01" + bytes(2**14 + 1),
        b"\x16\x03\x01\xff\xff",
    ],
)
def test_what_is_not_tls_is_refused_as_soon_as_that_can_be_told(sent):
    assert refusal(sent) == "not TLS"
    assert refusal(sent[:5]) == "not TLS"


def test_other_messages_than_a_hello_are_refused():
    for kind in (0, 2, 11, 16, 20):
        assert refusal(record(message(MESSAGE[4:], kind=kind))) == "the first message is no ClientHello"


def test_a_hello_is_refused_where_something_else_comes_between_its_records():
    for kind in (20, 21, 23):
        between = record(MESSAGE[:50]) + record(b"\x01", kind=kind) + record(MESSAGE[50:])
        assert refusal(between) == "not TLS"
    assert refusal(record(MESSAGE[:50]) + record(b"") + record(MESSAGE[50:])) == "not TLS"


def test_a_record_that_holds_more_than_the_hello_is_refused():
    why = "something follows the ClientHello in its record"
    assert refusal(record(MESSAGE + MESSAGE)) == why
    assert refusal(record(MESSAGE[:9]) + record(MESSAGE[9:] + b"\1")) == why


@pytest.mark.parametrize("length", [MOST_MESSAGE - 3, 2**16, 2**24 - 1])
def test_a_hello_that_announces_too_much_is_refused_before_it_has_come(length):
    sent = record(b"\x01" + length.to_bytes(3, "big") + bytes(100))
    assert refusal(sent) == "the ClientHello is too long"


def test_a_hello_in_records_of_one_byte_is_refused_at_the_limit_and_holds_no_more_than_the_bound():
    sent = records(MESSAGE, most=1)
    assert refusal(sent) == "the ClientHello is split over too many records"
    opening, passed = fed([sent[: 6 * MOST_RECORDS]])
    assert (passed, opening.right) == (b"", False)
    assert opening.held == 6 * MOST_RECORDS <= MOST_HELD
    with pytest.raises(HelloError):
        opening.take(sent[6 * MOST_RECORDS :])


@pytest.mark.parametrize("cut", range(0, len(MESSAGE) + 5, 7))
def test_a_hello_that_is_cut_off_goes_nowhere(cut):
    opening, passed = fed([record(MESSAGE)[:cut]])
    assert (passed, opening.right, opening.held) == (b"", False, cut)


# a server of TLS 1.3 may answer with HelloRetryRequest, and the client then sends a second hello in the clear

AGAIN = named(NAME.encode(), VERSIONS)
OTHER = named(b"other.dev", VERSIONS)
CHANGE = record(b"\1", kind=20)


def after_first(*first: bytes) -> Opening:
    opening = Opening(NAME)
    for chunk in first or [AGAIN]:
        assert opening.take(chunk) == chunk
    return opening


@pytest.mark.parametrize("between", [b"", CHANGE, CHANGE * 3, record(b"\1\0", kind=21) + CHANGE])
def test_a_second_hello_has_to_name_the_same_server(between):
    for chunks in ([between + AGAIN], singly(between + AGAIN)):
        opening = after_first()
        assert b"".join(map(opening.take, chunks)) == between + AGAIN
        assert opening.take(OTHER) == OTHER, "there is no third one"
    for split in (OTHER, records(OTHER[5:], most=7), records(OTHER[5:], most=3)):
        for chunks in ([between + split], singly(between + split)):
            opening, passed = after_first(), b""
            with pytest.raises(HelloError, match="another than"):
                passed = passed.join(map(opening.take, chunks))


def test_a_second_hello_that_follows_early_data_is_judged_too():
    early = named(NAME.encode(), VERSIONS, extension(EARLY_DATA, b""))
    data = record(bytes(300), kind=23)
    for chunks in ([data + CHANGE + data + OTHER], singly(data + data + OTHER)):
        opening = after_first(early)
        with pytest.raises(HelloError, match="another than"):
            b"".join(map(opening.take, chunks))
    opening = after_first(early)
    assert b"".join(map(opening.take, singly(data * 3))) == data * 3, "nothing of it is held back"


@pytest.mark.parametrize(
    ("second", "why"),
    [
        (record(b""), "not TLS"),
        (hello(VERSIONS), "no server name"),
        (hello(names((0, NAME.encode()), (0, b"other.dev")), VERSIONS), "several"),
        (record(b"\1" + (2**14 + 1).to_bytes(3, "big") + bytes(50)) + record(bytes(50)), "too long"),
        (records(message(bytes(2**16)), most=2**14), "too long"),
        (record(MESSAGE + b"\0"), "something follows"),
        (records(message(body(names((0, b"other.dev")))), most=1), "too many records"),
    ],
)
def test_a_second_hello_is_judged_as_strictly(second, why):
    for chunks in ([second], singly(second)):
        opening = after_first()
        with pytest.raises(HelloError, match=why):
            b"".join(map(opening.take, chunks))
        assert opening.held == 0
        with pytest.raises(HelloError, match=why):
            opening.take(AGAIN)


@pytest.mark.parametrize("begins", [b"\x10", b"\x0b", b"\0", b"\1\0\0\x7f", b"\1\xff\xff\xff", b"\1\0\x30\0"])
def test_a_handshake_that_goes_on_in_tls_1_2_is_no_second_hello_whatever_its_ciphertext_looks_like(begins):
    finished, data = record(begins + bytes(40 - len(begins)), version=0x0303), record(b"GET", kind=23)
    for chunks in ([CHANGE + finished + data], singly(CHANGE + finished + data)):
        opening = after_first()
        assert b"".join(map(opening.take, chunks)) == CHANGE + finished + data
        assert opening.held == 0


def test_a_client_of_tls_1_2_is_asked_for_no_second_hello_and_nothing_more_is_held_back():
    opening = after_first(named(NAME.encode()))
    assert opening.take(b"\x16") == b"\x16"


def test_what_is_held_when_the_client_ends_goes_on_only_after_a_right_hello():
    opening = after_first()
    assert opening.take(b"\x16\3") == b""
    assert opening.end() == b"\x16\3"
    assert opening.end() == b""
    for began in (b"", record(MESSAGE)[:-1]):
        opening, _ = fed([began])
        with pytest.raises(HelloError, match="cut off"):
            opening.end()


def changed(at: int, byte: int) -> bytes:
    return MESSAGE[:at] + bytes([byte]) + MESSAGE[at + 1 :]


EARLY = named(NAME.encode(), VERSIONS, extension(EARLY_DATA, b""))
extensions = st.lists(st.builds(extension, st.integers(0, 60), st.binary(max_size=40)), max_size=4).map(b"".join)
said = st.sampled_from([NAME.encode(), NAME.upper().encode(), b"other.dev", b"\0"])
right = st.sampled_from([AGAIN, EARLY, client_hello(NAME), records(AGAIN[5:], most=9)])
pieces = st.one_of(
    right,
    st.binary(max_size=64),
    st.builds(record, st.binary(max_size=64), st.sampled_from([20, 21, 22, 23]), st.sampled_from([0x0301, 0x0303, 2])),
    st.builds(record, st.binary(max_size=80).map(message)),
    st.builds(named, said, extensions),
    st.builds(hello, extensions),
    st.builds(lambda most: records(MESSAGE, most=most), st.integers(1, 80)),
    st.builds(changed, st.integers(0, 90), st.integers(0, 255)).map(record),
    st.integers(0, 2**17).map(lambda size: record(b"\x01" + vector(3, bytes(size))[:200])),
    st.integers(400, 2**14).map(lambda most: records(message(bytes(2**15)), most=most)),
)
conversations = st.tuples(st.one_of(right, st.just(b"")), st.lists(pieces, max_size=6).map(b"".join)).map(b"".join)


@settings(max_examples=500)
@given(conversations, st.integers(1, 3000))
@example(records(message(bytes(2**14)), most=2**14), 2999)
@example(AGAIN + records(message(bytes(2**16)), most=2**14), 2**14)
def test_nothing_raises_anything_else_is_held_beyond_the_bound_or_goes_on_unjudged(sent, size):
    opening, passed = Opening(NAME), b""
    for at in range(0, len(sent), size):
        try:
            passed += opening.take(sent[at : at + size])
        except HelloError:
            assert opening.held == 0
            return
        assert opening.held <= MOST_HELD
        assert passed == sent[: len(passed)]
        assert len(passed) + opening.held == min(len(sent), at + size)
        assert opening.right == bool(passed)
    if opening.right:
        assert passed + opening.end() == sent


@settings(max_examples=300)
@given(right, st.lists(st.sampled_from([CHANGE, record(b"\2\x28", kind=21)])), said, extensions, st.integers(1, 300))
def test_after_a_right_hello_no_other_name_goes_on_in_a_second_one(first, between, name, more, size):
    assume(name.lower() != NAME.encode())
    sent = first + b"".join(between) + named(name, more)
    opening = Opening(NAME)
    with pytest.raises(HelloError):
        b"".join(opening.take(sent[at : at + size]) for at in range(0, len(sent), size))


@given(st.text(max_size=80).map(str.encode), st.integers(1, 200))
def test_only_the_name_itself_opens_the_way(name, size):
    assume(name.lower().removesuffix(b".") != NAME.encode())
    sent = named(name)
    with pytest.raises(HelloError):
        fed([sent[at : at + size] for at in range(0, len(sent), size)])


class Handshake:
    """A client and a server of OpenSSL's in memory, the server with another curve than the client offers first."""

    def __init__(self, *names: str) -> None:
        authority = trustme.CA()
        serving, self.asked_for = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), []
        authority.issue_cert(*names).configure_cert(serving)
        serving.set_ecdh_curve("secp384r1")
        serving.sni_callback = lambda _, name, __: self.asked_for.append(name)
        believing = ssl.create_default_context()
        authority.configure_trust(believing)
        self._in, self._out, self._answers, self._requests = (ssl.MemoryBIO() for _ in range(4))
        self.client = believing.wrap_bio(self._answers, self._out, server_hostname=names[0])
        self.server = serving.wrap_bio(self._in, self._requests, server_side=True)

    def flight(self) -> bytes:
        """Let the client go on and return what it sends."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.client.do_handshake()
        return self._out.read()

    def answer(self, flight: bytes) -> bytes:
        """Let the server go on and return what it sends, which the client gets too."""
        self._in.write(flight)
        with contextlib.suppress(ssl.SSLWantReadError):
            self.server.do_handshake()
        sent = self._requests.read()
        self._answers.write(sent)
        return sent


HELLO_RETRY_REQUEST = hashlib.sha256(b"HelloRetryRequest").digest()


def test_a_handshake_with_a_second_hello_is_carried_to_its_end():
    shake, opening = Handshake(NAME), Opening(NAME)
    assert HELLO_RETRY_REQUEST in shake.answer(opening.take(shake.flight()))
    second = shake.flight()
    assert opening.take(second) == second
    assert NAME.encode() in second
    shake.answer(second)
    third = shake.flight()
    assert opening.take(third) == third
    shake.answer(third)
    assert shake.client.version() == "TLSv1.3"
    assert shake.server.version() == "TLSv1.3"
    assert shake.asked_for == [NAME, NAME]


def test_a_second_hello_with_another_name_which_a_server_would_follow_does_not_go_on():
    shake, opening = Handshake(NAME, "wrong.some.dev"), Opening(NAME)
    assert HELLO_RETRY_REQUEST in shake.answer(opening.take(shake.flight()))
    second = shake.flight().replace(NAME.encode(), b"wrong.some.dev")
    with pytest.raises(HelloError, match="another than"):
        opening.take(second)
    assert shake.answer(second)
    assert shake.asked_for == [NAME, "wrong.some.dev"], "it is worth the trouble"
