"""The machine's screen: X server with VNC, window manager, and the way to the host's screen door."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from antechamber.guest import programs
from antechamber.guest.doors import dial, join
from antechamber.guest.protocol import GO
from antechamber.guest.tasks import Tasks

if TYPE_CHECKING:
    from pathlib import Path

    from antechamber.guest.layout import Layout

_START_S = 20.0
_RFB = b"RFB "
_OPENBOX = """\
<?xml version="1.0" encoding="UTF-8"?>
<openbox_config xmlns="http://openbox.org/3.4/rc">
  <focus><focusNew>yes</focusNew><followMouse>no</followMouse></focus>
  <desktops><number>1</number><popupTime>0</popupTime></desktops>
  <keyboard/>
  <mouse>
    <context name="Client">
      <mousebind button="Left" action="Press"><action name="Focus"/><action name="Raise"/></mousebind>
    </context>
  </mouse>
  <applications>
    <application class="*" type="normal"><decor>no</decor><maximized>yes</maximized><focus>yes</focus></application>
    <application class="*" type="dialog"><decor>no</decor><focus>yes</focus></application>
  </applications>
</openbox_config>
"""


class ScreenError(Exception):
    """The X server did not start; the text is what it said last."""


class Screen:
    """The X server and the window manager of one machine."""

    def __init__(self, layout: Layout) -> None:
        """Prepare; `start` starts them."""
        self._layout = layout
        self._x: asyncio.subprocess.Process | None = None
        self._manager: asyncio.subprocess.Process | None = None
        self._heard = programs.Heard()

    @property
    def variables(self) -> dict[str, str]:
        """What a program on this screen needs in its environment."""
        return {
            "DISPLAY": f":{self._layout.display}",
            "PATH": os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin"),
            "LANG": os.environ.get("LANG", "C.UTF-8"),
            "HOME": str(self._layout.profile),
        }

    async def start(self) -> None:
        """Start the X server, and the window manager once it accepts clients; raises ScreenError, OSError."""
        self._layout.profile.mkdir(mode=0o700, parents=True, exist_ok=True)
        told, tell = os.pipe()
        try:
            self._x = await self._heard.start(_x_server(self._layout, tell), self.variables, keep=(tell,))
        finally:
            os.close(tell)
        try:
            async with asyncio.timeout(_START_S):
                await _told(told)
                await greeting(self._layout.vnc)
        except (TimeoutError, EOFError, OSError) as error:
            raise ScreenError(self._heard.last_words()) from error
        finally:
            os.close(told)
        rules = self._layout.work / "rc.xml"
        rules.write_text(_OPENBOX)
        self._manager = await programs.start(("openbox", "--sm-disable", "--config-file", str(rules)), self.variables)

    async def ended(self) -> str:
        """Wait until the X server ends, which it never should; return its code and last words."""
        assert self._x is not None  # noqa: S101 - started before it is awaited
        code = await self._x.wait()
        return f"{code}: {self._heard.last_words()}"

    async def stop(self) -> None:
        """End both."""
        for process in (self._manager, self._x):
            if process is not None:
                await programs.stop(process, patience=0.5)
        self._heard.close()


def _x_server(layout: Layout, tell: int) -> tuple[str, ...]:
    return (
        "Xtigervnc", f":{layout.display}", "-geometry", "1280x800", "-depth", "24",
        "-rfbport", "-1", "-rfbunixpath", str(layout.vnc), "-rfbunixmode", "0600", "-SecurityTypes", "None",
        # what is merely selected is nobody's clipboard
        "-SendPrimary=0", "-AcceptSetDesktopSize=1", "-AlwaysShared=1", "-IdleTimeout=0", "-desktop", "Antechamber",
        "-nolisten", "tcp", "-noreset", "-displayfd", str(tell),
    )  # fmt: skip


async def _told(descriptor: int) -> None:
    """Wait for the line that the X server writes once it accepts clients; raises EOFError when it ends instead."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(descriptor)
    if not os.read(descriptor, 16):
        raise EOFError


async def greeting(socket: Path) -> None:
    """See that the VNC socket answers with RFB's greeting (RFC 6143, 7.1.1); raises OSError or EOFError."""
    reader, writer = await dial(socket, within=5)
    try:
        if not (await reader.readexactly(12)).startswith(_RFB):
            raise EOFError
    finally:
        writer.transport.abort()


class Joiner:
    """Keeps a spare connection at the screen door, and joins it to the X server when the host says GO."""

    def __init__(self, layout: Layout) -> None:
        """Prepare; `run` dials."""
        self._layout = layout
        self._tasks = Tasks()

    async def run(self) -> None:
        """Dial spare after spare, until cancelled."""
        pause = 0.02
        try:
            while True:
                try:
                    spare = await dial(self._layout.screen, within=10)
                    word = await spare[0].read(len(GO))
                except OSError:
                    word = b""
                else:
                    if word == GO:
                        pause = 0.02
                        self._tasks.spawn("screen", self._join(*spare))
                        continue
                    spare[1].transport.abort()
                await asyncio.sleep(pause)
                pause = min(pause * 2, 1.0)
        finally:
            await self._tasks.close()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server = await dial(self._layout.vnc, within=5)
        except OSError:
            writer.transport.abort()
            return
        await join((reader, writer), server)
