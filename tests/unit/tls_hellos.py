"""ClientHellos made by hand (RFC 8446, 4.1.2), so that each part of one can lie."""

from __future__ import annotations

import struct

SERVER_NAME, SUPPORTED_VERSIONS, EARLY_DATA, ENCRYPTED_CLIENT_HELLO = 0, 43, 42, 0xFE0D


def vector(width: int, content: bytes) -> bytes:
    return len(content).to_bytes(width, "big") + content


def extension(number: int, content: bytes) -> bytes:
    return struct.pack(">H", number) + vector(2, content)


def names(*entries: tuple[int, bytes]) -> bytes:
    return extension(SERVER_NAME, vector(2, b"".join(bytes([kind]) + vector(2, name) for kind, name in entries)))


def body(*extensions: bytes, session_id: bytes = bytes(32), suites: bytes = b"\x13\x01", compressions: bytes = b"\0"):
    head = b"\x03\x03" + bytes(range(32)) + vector(1, session_id) + vector(2, suites) + vector(1, compressions)
    return head + vector(2, b"".join(extensions))


def message(content: bytes, kind: int = 1) -> bytes:
    return bytes([kind]) + vector(3, content)


def record(content: bytes, kind: int = 22, version: int = 0x0301) -> bytes:
    return struct.pack(">BH", kind, version) + vector(2, content)


def records(content: bytes, *, most: int) -> bytes:
    return b"".join(record(content[at : at + most]) for at in range(0, len(content), most))


def hello(*extensions: bytes, **fields: bytes) -> bytes:
    return record(message(body(*extensions, **fields)))


def named(name: bytes, *more: bytes) -> bytes:
    return hello(names((0, name)), *more)
