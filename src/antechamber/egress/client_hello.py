"""The server name of a TLS ClientHello, read from a client's first bytes (RFC 8446, 4.1.2 and 5.1; RFC 6066, 3).

Pure: bytes in, bytes that may go on out. Stricter than a server has to be, so that no server reads another name in the
same bytes: each length is exact, no extension comes twice, and there is exactly one server name.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from antechamber.egress.names import canonical

MOST_MESSAGE: Final = 4 + 2**14
"""Bytes of a ClientHello with its header. Browsers' are below 4 KiB; some servers take no more than this."""
MOST_RECORDS: Final = 64
"""Records that one ClientHello may be split over."""
_HEADER: Final = 5
_MOST_FRAGMENT: Final = 2**14
MOST_HELD: Final = _MOST_FRAGMENT + MOST_MESSAGE + MOST_RECORDS * _HEADER
"""Bytes that are held back at most, between two calls."""

_MAJOR: Final = 3
"""First byte of the version of a record, which TLS has kept since SSL 3."""

_HANDSHAKE: Final = 22
_APPLICATION: Final = 23
_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = 0
_HOST_NAME: Final = 0
_EARLY_DATA: Final = 42
_SUPPORTED_VERSIONS: Final = 43
_ENCRYPTED_CLIENT_HELLO: Final = 0xFE0D
_MOST_SESSION_ID: Final = 32


class HelloError(Exception):
    """The client does not begin TLS with the name that was asked for; says why, and nothing of what it sent."""


class _NoHelloError(HelloError):
    """What looked like a second ClientHello is none."""


class _State(Enum):
    FIRST = auto()
    """The first ClientHello is not whole yet."""
    BETWEEN = auto()
    """It was right, and a server may ask for another one (HelloRetryRequest; RFC 8446, 4.1.4)."""
    AGAIN = auto()
    """What looks like another one has begun."""
    OVER = auto()
    """Whatever comes goes on: no server takes a ClientHello in the clear any more."""


class Opening:
    """What a client sends up to its last ClientHello; nothing goes on before the name in it is the right one."""

    def __init__(self, name: str) -> None:
        """Expect that canonical name."""
        self._name = name
        self._state = _State.FIRST
        self._held = bytearray()
        self._at = 0
        """Where in what is held the next record begins."""
        self._message = bytearray()
        self._records = 0
        self._early = False
        self._passing = 0
        """Bytes of the record under way that go on as they come."""
        self._refused: HelloError | None = None

    @property
    def right(self) -> bool:
        """Whether a whole ClientHello has named the right server."""
        return self._state is not _State.FIRST

    @property
    def held(self) -> int:
        """Bytes that were taken and have not gone on."""
        return len(self._held)

    def take(self, chunk: bytes) -> bytes:
        """Take what the client sent next and return what may go on; raises HelloError, and from then on always."""
        if self._state is _State.OVER:
            return chunk
        if self._refused is not None:
            raise self._refused
        self._held += chunk
        passed = bytearray()
        try:
            while (released := self._step()) is not None:
                passed += released
        except HelloError as error:
            self._refused = error
            self._held.clear()
            raise
        return bytes(passed)

    def end(self) -> bytes:
        """Return what may go on where the client sends no more; raises HelloError where its hello is not whole."""
        if self._state is _State.FIRST:
            raise HelloError("the ClientHello is cut off")
        return self._release(len(self._held))

    def _release(self, count: int) -> bytes:
        passed = bytes(self._held[:count])
        del self._held[:count]
        self._at = 0
        return passed

    def _step(self) -> bytes | None:
        """Go one step on and return what it lets go on, None where more is needed."""
        match self._state:
            case _State.OVER:
                return self._release(len(self._held)) or None
            case _State.BETWEEN:
                return self._between()
        try:
            if not self._whole():
                return None
        except _NoHelloError:
            self._state = _State.OVER
            return b""
        another_may_come = self._judge(bytes(self._message)) and self._state is _State.FIRST
        self._state = _State.BETWEEN if another_may_come else _State.OVER
        self._message.clear()
        self._records = 0
        return self._release(self._at)

    def _between(self) -> bytes | None:
        """Look at the next record: the second ClientHello, what may come before it, or what only comes after all."""
        if self._passing:
            passed = self._release(self._passing)
            self._passing -= len(passed)
            return passed or None
        if len(self._held) < _HEADER:
            return None
        kind, length = self._held[0], int.from_bytes(self._held[3:_HEADER], "big")
        if kind == _HANDSHAKE:
            if length == 0:
                raise HelloError("not TLS")
            if len(self._held) == _HEADER:
                return None
            # a handshake goes on in TLS 1.2, or this is encrypted
            self._state = _State.AGAIN if self._held[_HEADER] == _CLIENT_HELLO else _State.OVER
        elif kind == _APPLICATION and not self._early:
            self._state = _State.OVER
        else:
            # early data comes in records like those of all later data, and a second hello may follow it
            self._passing = _HEADER + length
        return b""

    def _whole(self) -> bool:
        """Put the records together; True when they make one whole message and nothing more."""
        while (fragment := self._record()) is not None:
            self._message += fragment
            if self._message[0] != _CLIENT_HELLO:
                raise HelloError("the first message is no ClientHello")
            if len(self._message) < 4:
                continue
            length = 4 + int.from_bytes(self._message[1:4], "big")
            if length > MOST_MESSAGE and not (self._state is _State.AGAIN and self._records == 1):
                raise HelloError("the ClientHello is too long")
            if len(self._message) > length:
                raise HelloError("something follows the ClientHello in its record")
            if len(self._message) == length:
                return True
        return False

    def _record(self) -> bytes | None:
        """Return what is in the next record, None while it is not whole."""
        head = self._held[self._at : self._at + _HEADER]
        # what is no TLS at all is told by its first byte, and not waited for
        if head[:1] and head[0] != _HANDSHAKE:
            # TLS 1.2 goes on in encrypted handshake records, which can begin with any byte; and other data then follows
            # in records of its own kind, which a server of TLS 1.3 refuses amid a message
            raise _NoHelloError("not TLS") if self._state is _State.AGAIN else HelloError("not TLS")
        if len(head) < _HEADER:
            return None
        length = int.from_bytes(head[3:5], "big")
        if head[1] != _MAJOR or not 0 < length <= _MOST_FRAGMENT:
            raise HelloError("not TLS")
        begins, ends = self._at + _HEADER, self._at + _HEADER + length
        if len(self._held) < ends:
            return None
        self._records += 1
        if self._records > MOST_RECORDS:
            raise HelloError("the ClientHello is split over too many records")
        self._at = ends
        return bytes(self._held[begins:ends])

    def _judge(self, message: bytes) -> bool:
        """Raise HelloError unless the name is right; tell whether a server may ask for another hello."""
        extensions = _extensions(message[4:])
        name = canonical(_server_name(extensions))
        if name is None:
            raise HelloError("the server name is no host name")
        if name != self._name:
            raise HelloError("the server name is another than the name asked for")
        self._early = _EARLY_DATA in extensions
        return _SUPPORTED_VERSIONS in extensions  # without it a client speaks TLS 1.2 at most


class _Fields:
    """Reads fields one after the other; raises HelloError where one is longer than what there is."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._content)

    def take(self, length: int) -> bytes:
        """Return the next so many bytes."""
        begins, self._at = self._at, self._at + length
        if self._at > len(self._content):
            raise HelloError("a length in the ClientHello is wrong")
        return self._content[begins : self._at]

    def number(self, length: int) -> int:
        """Return the next number of so many bytes."""
        return int.from_bytes(self.take(length), "big")

    def vector(self, length: int) -> bytes:
        """Return what comes with its own length before it, which is so many bytes wide."""
        return self.take(self.number(length))

    def end(self, why: str = "a length in the ClientHello is wrong") -> None:
        """Raise HelloError where something is left."""
        if self:
            raise HelloError(why)


def _server_name(extensions: dict[int, bytes]) -> str:
    """Return the one host name as it was sent; raises HelloError."""
    if _SERVER_NAME not in extensions:
        raise HelloError("the ClientHello has no server name")
    # nobody can tell one that hides a name from GREASE (RFC 9849, 6.2): of what a machine runs nothing sends either
    if _ENCRYPTED_CLIENT_HELLO in extensions:
        raise HelloError("the ClientHello may hide another")
    extension = _Fields(extensions[_SERVER_NAME])
    names = _Fields(extension.vector(2))
    extension.end()
    kind, name = names.number(1), names.vector(2)
    names.end("the ClientHello has several server names")
    if kind != _HOST_NAME:
        raise HelloError("the server name is no host name")
    return name.decode("latin-1")


def _extensions(hello: bytes) -> dict[int, bytes]:
    """Return the extensions of a ClientHello by their numbers."""
    fields = _Fields(hello)
    fields.take(2 + 32)  # legacy_version and random
    session_id, suites, compressions = fields.vector(1), fields.vector(2), fields.vector(1)
    if len(session_id) > _MOST_SESSION_ID or not suites or len(suites) % 2 or not compressions:
        raise HelloError("a length in the ClientHello is wrong")
    found: dict[int, bytes] = {}
    if not fields:
        return found
    block = _Fields(fields.vector(2))
    fields.end()
    while block:
        number, content = block.number(2), block.vector(2)
        if number in found:
            raise HelloError("the ClientHello has an extension twice")
        found[number] = content
    return found
