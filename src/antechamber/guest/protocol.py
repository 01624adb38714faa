"""The protocols of the doors, for both ends: frames, messages and limits. Standard library only.

**Link** (guest dials, one connection at a time): frames of a 4-byte big-endian length and that many bytes of UTF-8
JSON, an object with `type`. The guest speaks first with `hello`; the host answers `welcome` (with the job when the
guest has none yet) or closes. The guest keeps each *report* until its `ack` and sends it again after a reconnect.

Guest to host::

    hello            {protocol, build, incarnation, has_job}
    report           {id, kind, body}         kinds in ReportKind; acknowledged one by one
    terminal         {viewer, output, fresh, writable}   a piece of what the CLI wrote, base64; the next one follows
                                              `terminal_taken`. `fresh`: begin anew with it; `writable`: it can be
                                              typed into
    run_output       {reader, at, stream, again, output, ended}   a piece of what a run's CLI wrote on that stream
                                              (1 or 2), base64; `at` is where it begins in all that it wrote; the next
                                              one follows `run_taken`. `again`: a reader has had it before; `ended`: it
                                              is the last, and may be empty
    run_input_taken  {}                       the next piece of input may come
Host to guest::

    welcome          {job?}                   the job is an object, see `guest/job.py`
    ack              {id}
    refuse           {id, code}               the report was not accepted and must not be sent again
    again            {attempt}                run the CLI for that time, from an empty home, unless it was run as often
    terminal_open    {viewer}                 send what is kept of the CLI's output, and go on, to that viewer alone
    terminal_taken   {viewer}                 the piece has reached the page
    terminal_input   {viewer, input}          base64, for the CLI's terminal
    terminal_size    {columns, rows}
    terminal_close   {viewer}
    run_open         {reader, at}             send what a run's CLI wrote from there on, to that reader alone
    run_taken        {reader}                 the piece has reached the reader
    run_close        {reader}
    run_input        {input, end}             base64, for the CLI; nothing more comes after `end`
    run_signal       {signal}                 a word of RUN_SIGNALS, for the CLI and what it started
    run_size         {columns, rows}          of its terminal
    run_finish       {}                       end the CLI, tell of its credential file and that it has ended
    capture_done     {}                       stop the CLI, wipe its home; the screen stays as it is
    look_again       {}                       send a whole credential file at once if there is one; answered by a
                                              report `credential` or `nothing_yet`
    stop             {}                       end everything; the machine ends with it

**Screen** (guest dials, keeps one spare): the guest waits for one byte `GO`, then joins this connection with a new one
to the X server's VNC socket, and dials the next spare. What follows is RFB, untouched.

**Egress** (guest dials, one connection a request): one JSON line of at most `EGRESS_LINE` bytes,
`{"op": "resolve", "name"}` or `{"op": "connect", "name", "port"}`; the answer is one JSON line `{"answer": ...}` with a
word of `EgressAnswer`; after `ok` to `connect` the bytes of that connection follow both ways. On port 443 they begin
with a ClientHello for that name, or the host ends the connection.
"""

from __future__ import annotations

import json
import struct
from enum import Enum
from typing import Any, Final

PROTOCOL: Final = 4
"""Raised when either end could misread the other, or the job: an upgraded service goes on with the machines of before
as long as this is the same, and fails their sessions where it is not."""

MAX_FRAME: Final = 1024 * 1024
"""Bytes of one link frame; a longer one ends the connection."""

MAX_CREDENTIAL: Final = 256 * 1024
"""Bytes of one captured file."""

LATEST_NS: Final = 2**63 - 1
"""The latest time of a file, in nanoseconds since 1970 (which is the earliest)."""

TERMINAL_PIECE: Final = 24 * 1024
"""Bytes of the CLI's output in one message."""

TERMINAL_INPUT: Final = 4 * 1024
"""Bytes that are typed at once."""

TERMINAL_SIDES: Final = (20, 400)
"""Least and most columns and rows of the CLI's terminal."""

RUN_PIECE: Final = 48 * 1024
"""Bytes of a run's output in one message, and of its input."""

RUN_SIGNALS: Final = ("INT", "TERM", "HUP", "QUIT")
"""What a run's caller may send its CLI."""

EGRESS_LINE: Final = 1024
GO: Final = b"\x01"

_LENGTH: Final = struct.Struct(">I")


class ReportKind(str, Enum):
    """What a guest reports; each is kept until it is acknowledged."""

    STARTED = "started"
    """{cli_pid_started: bool}: the guest has begun its job."""
    SCREEN_UP = "screen_up"
    """{}: the X server's VNC socket answers."""
    BROWSER_SANDBOX = "browser_sandbox"
    """{ok: bool, renderers: int, detail: str}: read from /proc."""
    PAGE_ASKED = "page_asked"
    """{host: str}: the CLI asked for a page of that host (the URL itself stays in the machine)."""
    TERMINAL_ASKS = "terminal_asks"
    """{}: the CLI waits at its terminal, has asked for no page, and what it wrote last is no whole line."""
    CREDENTIAL = "credential"
    """{files: {name: {content: base64, mtime_ns: int, mode: int, new: bool}}, cli_version: str}: name is `credential`
    or a companion's; `new` says that this content was not there when this run of the CLI began."""
    NOTHING_YET = "nothing_yet"
    """{}: answer to look_again."""
    CLI_ENDED = "cli_ended"
    """{attempt: int, code: int, lines: [str], file: str}: `file` is a word of FileState; `attempt` counts the runs."""
    RUN_ENDED = "run_ended"
    """{code: int, file: str, redacted: bool}: a run's CLI has ended, what it left of its credential file has been
    reported before, and its home is wiped. `file` is what the file was, a word of FileState, WHOLE or UNSTORED."""
    CHECKED = "checked"
    """{accepted: bool, code: int, lines: [str]}: the result of an offline check."""
    TROUBLE = "trouble"
    """{what: str, detail: str}: something in the machine is broken, such as the X server."""


class FileState(str, Enum):
    """What a credential file is as long as it is not whole."""

    NONE = "none"
    UNREADABLE = "unreadable"
    """It cannot be opened, or belongs to somebody else."""
    INCOMPLETE = "incomplete"
    """It is no JSON object yet, or lacks a path that it must have."""
    TOO_LARGE = "too_large"
    NOT_A_FILE = "not_a_file"
    """A symlink, a folder, a pipe."""
    STALE = "stale"
    """It is what was there before the CLI's start."""


WHOLE: Final = "whole"
"""What a credential file is that is none of these."""

UNSTORED: Final = "unstored"
"""What a run's credential file is when it is whole, and the host has refused what is in it."""


class Trouble(str, Enum):
    """What can be broken in a machine, beyond what its CLI says; each means that the job cannot succeed."""

    NO_PAGE = "no_page"
    """The CLI asked for no page in time."""
    CLI_NOT_FOUND = "cli_not_found"
    """The CLI could not be started."""
    SCREEN = "screen"
    BROWSER = "browser"
    JOB = "job"
    """The job is not one that this agent understands."""
    AGENT = "agent"
    """A part of the agent itself failed."""


class EgressAnswer(str, Enum):
    """The host's word to an egress request; to the guest every refusal looks like a name that does not exist."""

    OK = "ok"
    NXDOMAIN = "nxdomain"
    SERVFAIL = "servfail"
    FAILED = "failed"
    """The connection could not be made."""


class ProtocolError(Exception):
    """The other end sent something that is not of the protocol."""


def encode(message: dict[str, Any]) -> bytes:
    """Return the frame of a message; raises ProtocolError when it is too long."""
    # half a surrogate pair, as names of files that are no UTF-8 have, becomes the escape that JSON has for it
    body = json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode(errors="backslashreplace")
    if len(body) > MAX_FRAME:
        text = f"a frame of {len(body)} bytes"
        raise ProtocolError(text)
    return _LENGTH.pack(len(body)) + body


def decode(body: bytes) -> dict[str, Any]:
    """Return the message of a frame's body; raises ProtocolError unless it is a JSON object with a `type`."""
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as error:
        text = "a frame is not JSON"
        raise ProtocolError(text) from error
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        text = "a frame is not an object with a type"
        raise ProtocolError(text)
    return message


def frame_length(head: bytes) -> int:
    """Return the length that a frame's 4-byte head announces; raises ProtocolError when it is too long or zero."""
    (length,) = _LENGTH.unpack(head)
    if not 0 < length <= MAX_FRAME:
        text = f"a frame of {length} bytes"
        raise ProtocolError(text)
    return int(length)


class Framer:
    """Cuts a byte stream into messages, however it is split."""

    def __init__(self) -> None:
        """Begin with nothing received."""
        self._buffer = bytearray()

    def feed(self, received: bytes) -> list[dict[str, Any]]:
        """Return the messages that are now whole; raises ProtocolError on a bad one.

        Where there are some before the bad one they are returned, and the next call raises: what comes out does not
        depend on how the stream was cut.
        """
        self._buffer += received
        messages: list[dict[str, Any]] = []
        while len(self._buffer) >= _LENGTH.size:
            try:
                end = _LENGTH.size + frame_length(bytes(self._buffer[: _LENGTH.size]))
                if len(self._buffer) < end:
                    break
                message = decode(bytes(self._buffer[_LENGTH.size : end]))
            except ProtocolError:
                if messages:
                    break
                raise
            messages.append(message)
            del self._buffer[:end]
        return messages
