"""The few lines of DNS that the machine needs (RFC 1035): read a question, write an answer."""

from __future__ import annotations

import ipaddress
import re
import struct
from dataclasses import dataclass

TYPE_A = 1
CLASS_IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
TTL = 1
"""Seconds; short, because the host is to be asked again."""

_HEADER = struct.Struct(">HHHHHH")
_QUESTION_TAIL = struct.Struct(">HH")
_LABEL = re.compile(rb"\A[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?\Z")


class NotAQuestionError(Exception):
    """A datagram that gets no answer at all."""


@dataclass(frozen=True)
class Query:
    """One question; `name` is lower case without the final dot, None when it can be nobody's host name."""

    id: int
    flags: int
    name: str | None
    type: int
    question: bytes
    """The question section as it came, to be repeated in the answer."""
    fault: int = NOERROR
    """The response code when the question itself is at fault."""


def parse(datagram: bytes) -> Query:
    """Return the question of a datagram; raises NotAQuestionError when there is nobody to answer."""
    if len(datagram) < _HEADER.size:
        raise NotAQuestionError
    ident, flags, questions, _, _, _ = _HEADER.unpack_from(datagram)
    if flags & 0x8000:
        raise NotAQuestionError  # an answer: replying to it could go on for ever
    if flags & 0x7800:
        return Query(ident, flags, None, 0, b"", NOTIMP)
    name = _labels(datagram) if questions == 1 else None
    if name is None:
        return Query(ident, flags, None, 0, b"", FORMERR)
    labels, end = name
    kind, cls = _QUESTION_TAIL.unpack_from(datagram, end)
    question = datagram[_HEADER.size : end + _QUESTION_TAIL.size]
    if cls != CLASS_IN:
        return Query(ident, flags, None, kind, question, REFUSED)
    usable = bool(labels) and all(_LABEL.match(label) for label in labels)
    return Query(ident, flags, b".".join(labels).decode("ascii").lower() if usable else None, kind, question)


def _labels(datagram: bytes) -> tuple[list[bytes], int] | None:
    """Return the labels of the first question and where they end; None when they are cut off, too long or packed."""
    labels: list[bytes] = []
    at = _HEADER.size
    while at < len(datagram) and (length := datagram[at]) != 0:
        at += 1
        if length > 63 or at + length - _HEADER.size > 254:
            return None
        labels.append(datagram[at : at + length])
        at += length
    return (labels, at + 1) if at + 1 + _QUESTION_TAIL.size <= len(datagram) else None


def answer(query: Query, code: int, address: str | None = None) -> bytes:
    """Return the datagram that answers: with one A record, or empty with that response code."""
    flags = 0x8000 | (query.flags & 0x7900) | 0x0080 | code
    record = b""
    if address is not None:
        packed = ipaddress.IPv4Address(address).packed
        record = struct.pack(">HHHIH", 0xC00C, TYPE_A, CLASS_IN, TTL, len(packed)) + packed
    head = _HEADER.pack(query.id, flags, 1 if query.question else 0, 1 if record else 0, 0, 0)
    return head + query.question + record
