"""The guest's DNS: what it reads, and what it answers."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antechamber.guest import dns
from antechamber.guest.names import Names

label = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=63).filter(
    lambda text: not text.startswith("-") and not text.endswith("-")
)


def question(name: str, kind: int = dns.TYPE_A, *, cls: int = 1, ident: int = 7, flags: int = 0x0100) -> bytes:
    labels = b"".join(bytes([len(part)]) + part.encode("latin-1") for part in name.split("."))
    return struct.pack(">HHHHHH", ident, flags, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, cls)


@settings(deadline=None)
@given(st.lists(label, min_size=1, max_size=4).filter(lambda labels: sum(map(len, labels)) < 240))
def test_a_well_formed_name_is_read_in_lower_case(labels):
    name = ".".join(labels)
    assert dns.parse(question(name.upper())).name == name


@settings(deadline=None)
@given(st.binary(max_size=600))
def test_any_bytes_are_an_error_of_ours_or_a_question(datagram):
    try:
        query = dns.parse(datagram)
    except dns.NotAQuestionError:
        return
    assert dns.answer(query, query.fault)[:2] == datagram[:2]


@settings(deadline=None)
@given(st.integers(0, 60))
def test_a_question_that_is_cut_off_is_a_format_error(cut):
    whole = question("login.vendor-one.com")
    datagram = whole[: max(12, len(whole) - 1 - cut)]
    assert dns.parse(datagram).fault == dns.FORMERR


def test_an_answer_is_never_answered():
    with pytest.raises(dns.NotAQuestionError):
        dns.parse(question("vendor-one.com", flags=0x8180))


@pytest.mark.parametrize("name", ["a b.com", "vendor.c\xe9m", "-x.com", "x-.com", "a/b.com", "x;y.com"])
def test_what_can_be_no_host_name_is_no_name(name):
    assert dns.parse(question(name)).name is None


def test_a_pointer_in_a_question_is_a_format_error():
    datagram = struct.pack(">HHHHHH", 1, 0, 1, 0, 0, 0) + b"\xc0\x0c" + struct.pack(">HH", 1, 1)
    assert dns.parse(datagram).fault == dns.FORMERR


def test_other_operations_and_classes_are_turned_down():
    assert dns.parse(question("vendor-one.com", flags=0x2800)).fault == dns.NOTIMP
    query = dns.parse(question("vendor-one.com", cls=3))
    assert query.name is None


def test_an_answer_repeats_the_question_and_lives_a_second():
    query = dns.parse(question("vendor-one.com"))
    answer = dns.answer(query, dns.NOERROR, "127.64.0.1")
    ident, flags, questions, answers, _, _ = struct.unpack_from(">HHHHHH", answer)
    assert (ident, flags & 0x800F, questions, answers) == (7, 0x8000, 1, 1)
    assert answer[12 : 12 + len(query.question)] == query.question
    assert struct.unpack_from(">HHHIH", answer, 12 + len(query.question)) == (0xC00C, 1, 1, dns.TTL, 4)
    assert answer[-4:] == ipaddress.IPv4Address("127.64.0.1").packed


@settings(deadline=None)
@given(st.lists(st.text(min_size=1), min_size=1, max_size=50, unique=True))
def test_each_name_has_one_address_of_its_own_and_the_way_back(words):
    names = Names()
    addresses = [names.address(word) for word in words]
    assert addresses == [names.address(word) for word in words]
    assert len(set(addresses)) == len(words)
    for word, address in zip(words, addresses, strict=True):
        assert address is not None
        assert ipaddress.ip_address(address) in ipaddress.ip_network("127.64.0.0/10")
        assert names.name(address) == word


def test_there_are_4096_names_and_no_more():
    names = Names()
    assert all(names.address(f"n{number}.com") for number in range(4096))
    assert names.address("one-too-many.com") is None
    assert names.address("n0.com") == "127.64.0.1"
    assert names.name("127.64.16.1") is None
    assert names.name("127.0.0.1") is None


# what a pointer, a long label, a second question and records after the question would be
parts = st.sampled_from(
    [b"\xc0\x0c", b"\x3f" + b"a" * 63, b"\x40", b"\0", b"\x01a", b"\0\x01\0\x01", b"\0\xff\0\x01"]
) | st.binary(max_size=8)
questions = st.builds(
    lambda ident, flags, counts, body: struct.pack(">HH4H", ident, flags, *counts) + b"".join(body),
    st.integers(0, 0xFFFF),
    st.integers(0, 0x7FFF),
    st.tuples(st.just(1) | st.integers(0, 3), *[st.integers(0, 3)] * 3),
    st.lists(parts, max_size=8),
)


@settings(max_examples=300, derandomize=True)
@given(questions, st.sampled_from([dns.NOERROR, dns.SERVFAIL, dns.NXDOMAIN]))
def test_whatever_is_asked_the_answer_is_one_and_holds_no_more_than_the_question_and_an_address(datagram, code):
    query = dns.parse(datagram)
    address = "127.64.0.1" if query.name is not None and not query.fault and code == dns.NOERROR else None
    answer = dns.answer(query, query.fault or code, address)
    ident, flags, asked, answers, authorities, more = struct.unpack_from(">HHHHHH", answer)
    assert ident == struct.unpack_from(">H", datagram)[0]
    assert flags & 0x8000
    assert (asked, answers) == (int(bool(query.question)), int(address is not None))
    assert (authorities, more) == (0, 0)
    assert datagram[12:].startswith(query.question)
    assert len(answer) == 12 + len(query.question) + (16 if address else 0)
    if query.name is not None:
        # a name that is read is a name that can be asked for in just that spelling
        assert dns.parse(question(query.name)).name == query.name
        assert len(query.name) <= 253
