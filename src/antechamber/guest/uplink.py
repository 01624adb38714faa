"""The guest's end of the link: dials again for ever, and keeps each report until the host has taken it."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

from antechamber.guest.doors import CHUNK, dial
from antechamber.guest.protocol import PROTOCOL, Framer, ProtocolError, ReportKind, encode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 1.0


def _report_id() -> str:
    return "rep_" + "".join(secrets.choice(_ALPHABET) for _ in range(20))


class Uplink:
    """Speaks the link's protocol; see `protocol`."""

    def __init__(
        self,
        door: Path,
        *,
        build: str,
        incarnation: str,
        has_job: Callable[[], bool],
        on_message: Callable[[dict[str, Any]], None],
        on_settled: Callable[[str, ReportKind, str | None], None],
    ) -> None:
        """Prepare; `on_settled` gets a report's id, kind, and the code when it was refused."""
        self._door = door
        self._hello = {"type": "hello", "protocol": PROTOCOL, "build": build, "incarnation": incarnation}
        self._has_job = has_job
        self._on_message = on_message
        self._on_settled = on_settled
        self._kept: dict[str, dict[str, Any]] = {}
        self._writer: asyncio.StreamWriter | None = None

    def report(self, kind: ReportKind, body: dict[str, Any]) -> str:
        """Send a report now, and again after each reconnect until it is acknowledged or refused; return its id."""
        message = {"type": "report", "id": _report_id(), "kind": kind.value, "body": body}
        frame = encode(message)
        self._kept[str(message["id"])] = message
        if self._writer is not None:
            self._writer.write(frame)
        return str(message["id"])

    def say(self, message: dict[str, Any]) -> None:
        """Send a message that is no report: where the host is away, it is lost."""
        if self._writer is not None:
            self._writer.write(encode(message))

    def send_again(self, report_id: str) -> bool:
        """Send a report once more if it is still kept; tell whether it is."""
        message = self._kept.get(report_id)
        if message is not None and self._writer is not None:
            self._writer.write(encode(message))
        return message is not None

    async def settled(self) -> None:
        """Give what has been written a moment to leave."""
        if self._writer is not None:
            await self._writer.drain()

    async def run(self) -> None:
        """Dial, speak, and dial again, until cancelled."""
        pause = _FIRST_PAUSE_S
        while True:
            try:
                reader, writer = await dial(self._door, within=10)
            except OSError:
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_S)
                continue
            try:
                if await self._speak(reader, writer):
                    pause = _FIRST_PAUSE_S
            except (OSError, ProtocolError):
                pass  # the host went away or is of another version; the next dial tells
            finally:
                self._writer = None
                writer.transport.abort()
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    async def _speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        framer = Framer()
        writer.write(encode({**self._hello, "has_job": self._has_job()}))
        while received := await reader.read(CHUNK):
            for message in framer.feed(received):
                self._take(message, writer)
        return self._writer is not None

    def _take(self, message: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        match message["type"]:
            case "welcome":
                self._writer = writer
                # the job first: what it sets off may report at once, behind what is kept from before
                kept = list(self._kept.values())
                self._on_message(message)
                for report in kept:
                    writer.write(encode(report))
            case "ack" | "refuse" as word:
                settled = self._kept.pop(str(message.get("id")), {})
                if settled:
                    refused = str(message.get("code", "")) if word == "refuse" else None
                    self._on_settled(settled["id"], ReportKind(settled["kind"]), refused)
            case _:
                self._on_message(message)
