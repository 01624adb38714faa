"""The robot's VNC client: conversations with a server that the test plays byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import io
import shutil
import socket
import struct

import pytest
from PIL import Image

from antechamber.tasks import cancel_and_wait, spawn
from antechamber.testing.rfb import CONTROL, RETURN, RfbError, Screen, StreamWire

RED, BLUE = b"\x00\x00\xff\x00", b"\xff\x00\x00\x00"  # in memory: blue, green, red, unused


class Server:
    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def greet(self, width=4, height=2, *, security=b"\x01\x01", result=bytes(4)):
        self.writer.write(b"RFB 003.008\n")
        assert await self.reader.readexactly(12) == b"RFB 003.008\n"
        self.writer.write(security)
        assert await self.reader.readexactly(1) == b"\x01"
        self.writer.write(result)
        assert await self.reader.readexactly(1) == b"\x01", "the screen is shared"
        self.writer.write(struct.pack(">HH16xI", width, height, 4) + b"name")
        self.pixel_format = await self.reader.readexactly(20)
        head, count = struct.unpack(">BxH", await self.reader.readexactly(4))
        assert head == 2
        self.encodings = struct.unpack(f">{count}i", await self.reader.readexactly(4 * count))

    async def asked(self):
        kind, incremental, x, y, width, height = struct.unpack(">BBHHHH", await self.reader.readexactly(10))
        assert (kind, x, y) == (3, 0, 0)
        return bool(incremental), width, height

    def update(self, *rectangles):
        self.writer.write(struct.pack(">BxH", 0, len(rectangles)))
        for x, y, width, height, encoding, body in rectangles:
            self.writer.write(struct.pack(">HHHHi", x, y, width, height, encoding) + body)


async def _ends():
    here, there = socket.socketpair()
    server = Server(*await asyncio.open_connection(sock=there))
    return StreamWire(*await asyncio.open_connection(sock=here)), server


@pytest.fixture
async def ends():
    wire, server = await _ends()
    yield wire, server
    await wire.close()
    server.writer.close()


@pytest.fixture
async def seen(ends):
    wire, server = ends
    screen, _ = await asyncio.gather(Screen.open(wire), server.greet())
    watching = spawn("watch", screen.watch())
    assert await server.asked() == (False, 4, 2), "the first request is for the whole picture"
    yield screen, server, watching
    await cancel_and_wait(watching)


async def test_the_client_asks_for_raw_pixels_of_32_bits(ends):
    wire, server = ends
    screen, _ = await asyncio.gather(Screen.open(wire), server.greet())

    assert (screen.width, screen.height) == (4, 2)
    assert server.encodings == (0, -223)
    assert server.pixel_format[4:8] == bytes([32, 24, 0, 1])


async def test_a_picture_is_painted_when_it_has_more_than_one_colour_and_becomes_a_png(seen):
    screen, server, _ = seen

    server.update((0, 0, 4, 2, 0, RED * 8))
    assert await screen.change(0) == 1
    assert not screen.painted
    assert await server.asked() == (True, 4, 2)
    server.update((1, 1, 2, 1, 0, BLUE * 2))
    assert await screen.change(1) == 2

    assert screen.painted
    picture = Image.open(io.BytesIO(screen.png())).convert("RGB")
    assert [picture.getpixel((x, 1)) for x in range(4)] == [(255, 0, 0), (0, 0, 255), (0, 0, 255), (255, 0, 0)]


async def test_an_update_that_changes_no_pixel_is_no_change(seen):
    screen, server, _ = seen

    server.update((0, 0, 4, 2, 0, bytes(32)))
    await server.asked()
    assert (screen.updates, screen.changes) == (1, 0)


async def test_a_new_size_is_followed_and_asked_for_whole(seen):
    screen, server, _ = seen

    server.update((0, 0, 6, 3, -223, b""))

    assert await server.asked() == (False, 6, 3)
    assert (screen.width, screen.height) == (6, 3)


async def test_bells_and_colour_maps_are_passed_over_and_what_was_copied_is_kept(seen):
    screen, server, _ = seen

    server.writer.write(b"\x02" + b"\x03\0\0\0" + struct.pack(">I", 5) + b"hello" + b"\x01\0\0\0\0\x01" + bytes(6))
    server.update((0, 0, 1, 1, 0, RED))

    assert await screen.change(0) == 1
    assert (screen.copied, screen.copies) == ("hello", 1)


async def test_all_is_copied_by_keys_held_together_and_the_screens_word_for_it_is_awaited(seen):
    screen, server, _ = seen

    copying = spawn("copy", screen.copy_all())
    keys = [struct.unpack(">BBxxI", await server.reader.readexactly(8)) for _ in range(8)]
    assert not copying.done()
    server.writer.write(b"\x03\0\0\0" + struct.pack(">I", 3) + b"all")

    assert await copying == "all"
    held = [[(1, CONTROL), (1, ord(letter)), (0, ord(letter)), (0, CONTROL)] for letter in "ac"]
    assert [key[1:] for key in keys] == [*held[0], *held[1]]


async def test_a_click_is_a_move_a_press_and_a_release(seen):
    screen, server, _ = seen

    await screen.click(3, 1)

    told = [struct.unpack(">BBHH", await server.reader.readexactly(6)) for _ in range(3)]
    assert told == [(5, buttons, 3, 1) for buttons in (0, 1, 0)]


async def test_keys_are_pressed_and_let_go_by_keysym(seen):
    screen, server, _ = seen

    await screen.type("a@")
    await screen.type("ł")
    await screen.press(RETURN)

    keys = [struct.unpack(">BBxxI", await server.reader.readexactly(8)) for _ in range(8)]
    assert [key[1:] for key in keys] == [
        (down, keysym) for keysym in (0x61, 0x40, 0x01000142, 0xFF0D) for down in (1, 0)
    ]


async def test_whoever_waits_is_told_that_the_screen_ended(seen):
    screen, server, watching = seen
    waiting = spawn("wait", screen.change(0))

    server.writer.close()

    await watching
    with pytest.raises(EOFError):
        await waiting


@pytest.mark.parametrize(
    "rectangle",
    [(3, 0, 2, 1, 0, b""), (0, 0, 1, 1, 7, b""), (0, 0, 0, 2, -223, b""), (0, 0, 20_000, 2, -223, b"")],
    ids=["outside", "unknown encoding", "no width", "too wide"],
)
@pytest.mark.filterwarnings("default")
async def test_a_rectangle_that_cannot_be_is_refused(seen, rectangle):
    screen, server, watching = seen

    server.update(rectangle)

    with pytest.raises(RfbError):
        await watching
    with pytest.raises(EOFError):
        await screen.change(0)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 403", "banner"),
        (b"RFB 003.008\n\x00\x00\x00\x00\x03bad", "refused: bad"),
        (b"RFB 003.008\n\x01\x02", "password"),
        (b"RFB 003.008\n\x01\x01\x00\x00\x00\x01\x00\x00\x00\x04late", "refused: late"),
    ],
)
async def test_a_handshake_that_goes_wrong_says_how(ends, answer, words):
    wire, server = ends
    server.writer.write(answer)

    with pytest.raises(RfbError, match=words):
        await Screen.open(wire)


async def test_it_understands_the_real_server(tmp_path):
    program = shutil.which("Xtigervnc")
    assert program, "tigervnc-standalone-server is one of the system packages"
    path = tmp_path / "vnc"
    number, told = await asyncio.get_running_loop().run_in_executor(None, socket.socketpair)
    flags = "-geometry 320x200 -depth 24 -rfbport -1 -rfbunixmode 0600 -SecurityTypes None -nolisten tcp -nolisten unix"
    server = await asyncio.create_subprocess_exec(
        program,
        *flags.split(),
        "-rfbunixpath",
        str(path),
        "-displayfd",
        str(told.fileno()),
        pass_fds=[told.fileno()],
        stderr=asyncio.subprocess.DEVNULL,
    )
    told.close()
    try:
        reader, writer = await asyncio.open_connection(sock=number)
        assert (await reader.readline()).strip().isdigit()  # written once the server takes connections
        screen = await Screen.open(StreamWire(*await asyncio.open_unix_connection(str(path))))
        watching = spawn("watch", screen.watch())
        await screen.type("keys with nobody to read them")
        async with screen._news:
            await screen._news.wait_for(lambda: screen.updates)
        server.terminate()
        await watching
        assert (screen.width, screen.height, screen.updates) == (320, 200, 1)
        await screen.close()
        writer.close()
    finally:
        if server.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                server.kill()
        await server.wait()
