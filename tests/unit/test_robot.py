"""The robot against a service that the test plays: it sees a sign-in through, and says what did not hold."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute

from antechamber import control
from antechamber.model import Secret
from antechamber.tasks import spawn
from antechamber.testing.robot import sign_in

SESSION = "ses_00000000000000000000"
PATH = f"/api/auth/session/{SESSION}"
PAGES = ("email", "code", "consent")


@dataclass
class Shown:
    n: int
    page: str
    webdriver: bool = False
    sign_in: str = "one"


class Play:
    """The service, the machine's screen and the stand-in vendor, in one."""

    def __init__(self):
        self.status = "starting"
        self.machine = {"state": "ready", "exit_code": None}
        self.events = []
        self.shown = []
        self.typed = []
        self.news = asyncio.Condition()
        self.asked = []
        # what may go wrong
        self.after_machine = "completed"
        self.machine_state = "gone"
        self.accepted = True
        self.webdriver = False
        self.end_at_code = None
        self.others = False

    async def tell(self, **body):
        async with self.news:
            self.events.append({"seq": len(self.events) + 1, "fields": {}, **body})
            self.status = body.get("after") or self.status
            self.news.notify_all()

    async def show(self, page):
        async with self.news:
            if self.others and page != "email":
                self.shown.append(Shown(len(self.shown) + 1, "error", webdriver=True, sign_in="another"))
            self.shown.append(Shown(len(self.shown) + 1, page, self.webdriver))
            self.news.notify_all()

    async def beacons(self, *, after, wait):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait), self.news:
                await self.news.wait_for(lambda: len(self.shown) > after)
        return self.shown[after:]

    def app(self):
        routes = [
            Route("/api/auth/session", self.start, methods=["POST"]),
            Route(PATH, self.session),
            Route(f"{PATH}/credentials", self.poll),
            Route(f"{PATH}/events", self.stream),
            Route(f"{PATH}/destinations", self.destinations),
            WebSocketRoute(f"{PATH}/screen", self.screen),
            *(Route(f"{PATH}/{word}", self.post, methods=["POST"]) for word in ("open", "consent", "ticket", "shown")),
        ]
        return Starlette(routes=routes)

    async def start(self, request):
        self.asked.append(("start", request.headers["host"], request.headers["authorization"], await request.json()))
        port = request.url.port
        url = f"http://localhost:{port}/sign-in/{SESSION}#DUMMY-link-code"
        return JSONResponse({"session_id": SESSION, "status": "pending", "sign_in_url": url}, 201)

    async def session(self, request):
        assert request.headers["host"].startswith("127.0.0.1")
        status = self.after_machine if self.machine["state"] in {"gone", "lost"} else self.status
        return JSONResponse({"status": status, "reason": None, "machine": self.machine})

    async def destinations(self, _):
        return JSONResponse(
            {
                "destinations": [
                    {"name": "auth.example.com", "port": 443, "verdict": "allowed", "bytes_out": 1, "bytes_in": 1}
                ]
            }
        )

    async def poll(self, _):
        words = {"completed": "ready", "failed": "failed"}
        status = self.after_machine if self.machine["state"] in {"gone", "lost"} else self.status
        return JSONResponse({"status": words.get(status, "pending")})

    async def post(self, request):
        word = request.url.path.rpartition("/")[2]
        assert request.headers["host"].startswith("localhost")
        assert request.headers["origin"] == f"http://localhost:{request.url.port}"
        assert "authorization" not in request.headers, "the operator's token has no place on this host"
        self.asked.append((word, await request.json()))
        answer = JSONResponse({"ticket": "DUMMY-ticket"} if word == "ticket" else {})
        if word == "open":
            answer.set_cookie("session", "DUMMY-cookie", path=PATH, httponly=True, samesite="strict")
            return answer
        assert request.cookies == {"session": "DUMMY-cookie"}
        if word == "consent":
            await self.tell(kind="machine_ready", before="starting", after="awaiting_sign_in")
            await self.show("email")
        if word == "shown":
            self.machine = {"state": self.machine_state, "exit_code": 1}
        return answer

    async def stream(self, request):
        assert request.cookies == {"session": "DUMMY-cookie"}
        after = int(request.headers.get("last-event-id", 0))

        async def lines():
            sent = after
            while True:
                for event in self.events[sent:]:
                    sent = event["seq"]
                    yield f"id: {sent}\ndata: {json.dumps(event)}\n\n"
                if self.status in {"completed", "failed"}:
                    yield "event: end\ndata: {}\n\n"
                    return
                async with self.news:
                    await self.news.wait_for(lambda seen=sent: len(self.events) > seen)

        return StreamingResponse(lines(), media_type="text/event-stream")

    async def screen(self, socket_):
        assert socket_.scope["subprotocols"] == ["binary", "ticket.DUMMY-ticket"]
        assert socket_.headers["origin"] == f"http://localhost:{socket_.url.port}"
        await socket_.accept("binary")
        reader = asyncio.StreamReader()

        async def receive():
            with contextlib.suppress(Exception):
                while True:
                    reader.feed_data(await socket_.receive_bytes())
            reader.feed_eof()

        receiving = spawn("receive", receive())
        try:
            await self.draw(reader, socket_)
        except (asyncio.IncompleteReadError, RuntimeError):
            pass
        finally:
            receiving.cancel()

    async def draw(self, reader, socket_):
        await socket_.send_bytes(b"RFB 003.008\n\x01")
        await reader.readexactly(12)
        await socket_.send_bytes(b"\x01")
        await reader.readexactly(1)
        await socket_.send_bytes(bytes(4))
        await reader.readexactly(1)
        await socket_.send_bytes(struct.pack(">HH16xI", 2, 1, 0))
        await reader.readexactly(20)
        (encodings,) = struct.unpack(">2xH", await reader.readexactly(4))
        await reader.readexactly(4 * encodings)
        shade, page = 1, 0
        while True:
            (kind,) = await reader.readexactly(1)
            if kind == 3:
                whole = (await reader.readexactly(9))[0] == 0
                if whole:
                    await socket_.send_bytes(frame(shade))
                continue
            down, keysym = struct.unpack(">BxxI", await reader.readexactly(7))
            if not down:
                continue
            shade += 1
            await socket_.send_bytes(frame(shade))
            if keysym != 0xFF0D:
                self.typed.append(chr(keysym))
                continue
            self.typed.append("\n")
            page += 1
            if page == 1 and self.end_at_code:
                self.after_machine = self.end_at_code
                self.machine = {"state": self.machine_state, "exit_code": 1}
                await self.tell(kind="sign_in_failed", before=self.status, after=self.end_at_code)
            elif page < len(PAGES):
                await self.show(PAGES[page])
            else:
                whole_at = datetime.now(UTC).isoformat()
                fields = {"file_whole_at": whole_at}
                await self.tell(kind="captured", before=self.status, after="completed", fields=fields)


def frame(shade):
    pixels = bytes([shade % 256, 0, 0, 0]) + bytes(4)
    return struct.pack(">BxHHHHHi", 0, 1, 0, 0, 2, 1, 0) + pixels


@pytest.fixture
async def play(tmp_path):
    play = Play()

    async def check(arguments):
        play.asked.append(("check", dict(arguments)))
        return {"accepted": play.accepted, "by": "the test", "detail": "exit code 1"}

    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(play.app(), lifespan="off", log_config=None, ws="websockets-sansio")
    server = uvicorn.Server(config)
    serving = spawn("service", server.serve(sockets=[listening]))
    port = listening.getsockname()[1]
    operations = {"credentials.check": check}
    controlled = await control.serve(tmp_path / "control.sock", operations)

    def go(**extra):
        return sign_in(
            "codex",
            base=f"http://127.0.0.1:{port}",
            sign_in_base=f"http://localhost:{port}",
            token=Secret("DUMMY-token"),
            standin=play,
            control=control.Client(tmp_path / "control.sock"),
            screens=tmp_path / "screens",
            **extra,
        )

    play.go = go
    yield play
    server.should_exit = True
    await serving
    await controlled.close()


async def test_a_whole_sign_in_holds_and_is_timed(play):
    outcome = await play.go()

    assert outcome.trouble is None
    assert outcome.held
    assert (outcome.status, outcome.status_after_machine_gone) == ("completed", "completed")
    assert (outcome.machine_state, outcome.machine_exit) == ("gone", 1)
    assert outcome.credential_accepted_by == "the test"
    assert outcome.connect_to_painted_ms is not None
    assert outcome.connect_to_painted_ms >= 0
    assert outcome.file_whole_to_ready_ms is not None
    assert 0 <= outcome.file_whole_to_ready_ms < 60_000


async def test_it_types_an_address_then_six_digits_then_enter(play):
    await play.go()

    address, code, rest = "".join(play.typed).split("\n", 2)
    assert address.startswith("robot-")
    assert address.endswith("@example.com")
    assert len(code) == 6
    assert code.isdigit()
    assert rest == "\n"


async def test_it_uses_each_right_where_it_belongs(play):
    await play.go()

    words = [asked[0] for asked in play.asked]
    assert words == ["start", "open", "consent", "ticket", "shown", "check"]
    _, _, authorization, body = play.asked[0]
    assert authorization == "Bearer DUMMY-token"
    assert (body["provider"], body["replace"]) == ("codex", True)
    assert play.asked[1][1] == {"code": "DUMMY-link-code"}
    assert play.asked[-1][1] == {"provider": "codex", "user_id": "robot"}


@pytest.mark.parametrize(
    ("flaw", "words"),
    [
        ({"after_machine": "failed"}, "after the machine's end the poll says failed"),
        ({"accepted": False}, "the test does not accept it"),
        ({"webdriver": True}, "navigator.webdriver"),
        ({"end_at_code": "failed"}, "the session is failed"),
    ],
)
@pytest.mark.filterwarnings("default")
async def test_what_does_not_hold_is_said(play, flaw, words):
    for name, value in flaw.items():
        setattr(play, name, value)

    outcome = await play.go()

    assert not outcome.held
    assert words in outcome.trouble


async def test_pages_of_another_sign_in_are_passed_over(play):
    play.others = True

    assert (await play.go()).held


async def test_a_lost_machine_does_not_hold_though_the_session_completed(play):
    play.machine_state = "lost"

    outcome = await play.go()

    assert outcome.status == "completed"
    assert not outcome.held


async def test_after_trouble_the_last_picture_is_kept(play):
    play.end_at_code = "failed"

    outcome = await play.go()

    assert outcome.last_screen is not None
    assert outcome.last_screen.read_bytes().startswith(b"\x89PNG")


async def test_a_service_that_is_not_there_is_said_and_not_raised(tmp_path, play):
    closed = socket.create_server(("127.0.0.1", 0))
    port = closed.getsockname()[1]
    closed.close()

    outcome = await sign_in(
        "codex",
        base=f"http://127.0.0.1:{port}",
        sign_in_base=f"http://localhost:{port}",
        token=Secret("DUMMY"),
        standin=play,
        control=control.Client(tmp_path / "none"),
    )

    assert not outcome.held
    assert outcome.trouble.startswith("Connect: ")
