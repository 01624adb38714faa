"""The two public ends that the robot uses: the application's API, and a browser on the sign-in host.

Nothing here knows more than /openapi.json and the page's own requests tell everybody.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake, InvalidStatus

from antechamber.testing.rfb import Screen, WebSocketWire

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence

    from websockets.asyncio.client import ClientConnection

    from antechamber.model import Secret

_ANSWER_S: Final = 45.0  # a long poll may take 30


class Refused(Exception):  # noqa: N818 - it is an answer that came, in the words of the HTTP contract
    """The service answered with an error."""

    def __init__(self, asked: str, status: int, code: str, message: str) -> None:
        """Keep what was asked and what was answered."""
        super().__init__(f"{asked}: {status} {code}: {message}")
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True)
class Started:
    """A session that the application has asked for."""

    session_id: str
    status: str
    link_code: str


@dataclass(frozen=True, slots=True)
class Told:
    """One message of a session's event stream."""

    id: str
    kind: str
    body: Mapping[str, Any]


class _End:
    def __init__(self, base: str, headers: Mapping[str, str]) -> None:
        self.base = base.rstrip("/")
        # no proxy from the environment: a robot's words go to this service or nowhere
        self._http = httpx.AsyncClient(base_url=self.base, headers=headers, timeout=_ANSWER_S, trust_env=False)

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        answer = await self._http.request(method, path, json=body)
        if answer.is_success:
            return answer.json() if answer.content else {}
        try:
            error = answer.json()["error"]
            code, message = str(error["code"]), str(error["message"])
            if (seconds := answer.headers.get("Retry-After")) is not None:
                message += f" Try again in {seconds} s."
        except (ValueError, KeyError, TypeError):
            code, message = "no_error_object", answer.text[:200]
        raise Refused(f"{method} {path}", answer.status_code, code, message)


class Application(_End):
    """The application that asks for a sign-in: the API, with the operator's token."""

    def __init__(self, base: str, token: Secret) -> None:
        """Speak to the dashboard host."""
        super().__init__(base, {"Authorization": f"Bearer {token.reveal()}"})

    async def start(self, provider: str, user_id: str) -> Started:
        """Ask for a session; raises Refused."""
        body = {
            "user_id": user_id,
            "provider": provider,
            "replace": True,
            "display_name": "The robot",
            "purpose": "To see that a whole sign-in works",
        }
        answer = await self._call("POST", "/api/auth/session", body)
        code = urlsplit(answer["sign_in_url"]).fragment.rpartition("=")[2]
        return Started(answer["session_id"], answer["status"], code)

    async def session(self, session_id: str, *, wait_s: int = 0) -> Mapping[str, Any]:
        """Return the session, with `wait_s` after a change of it or that time."""
        return dict(await self._call("GET", f"/api/auth/session/{session_id}" + (f"?wait={wait_s}" if wait_s else "")))

    async def poll(self, session_id: str) -> Mapping[str, Any]:
        """Return what the predecessor's poll answers."""
        return dict(await self._call("GET", f"/api/auth/session/{session_id}/credentials"))

    async def cancel(self, session_id: str) -> None:
        """End a live session."""
        await self._call("POST", f"/api/auth/session/{session_id}/cancel", {})


class Browser(_End):
    """The person's browser, as far as the page's own requests go."""

    def __init__(self, sign_in_base: str) -> None:
        """Speak to the sign-in host, as a page of it."""
        super().__init__(sign_in_base, {"Origin": sign_in_base.rstrip("/")})

    async def open(self, started: Started) -> None:
        """Exchange the link's code for the session's cookie."""
        await self._call("POST", f"/api/auth/session/{started.session_id}/open", {"code": started.link_code})

    async def consent(self, session_id: str) -> None:
        """Agree, as by the click."""
        await self._call("POST", f"/api/auth/session/{session_id}/consent", {})

    async def session(self, session_id: str) -> Mapping[str, Any]:
        """Return the session as its page sees it."""
        return dict(await self._call("GET", f"/api/auth/session/{session_id}"))

    async def again(self, session_id: str, attempt: int) -> None:
        """Have the tool started again after that run of it gave up; raises Refused."""
        await self._call("POST", f"/api/auth/session/{session_id}/again", {"attempt": attempt})

    async def shown(self, session_id: str) -> None:
        """Say that the page has shown success."""
        await self._call("POST", f"/api/auth/session/{session_id}/shown", {})

    async def destinations(self, session_id: str) -> Sequence[Mapping[str, Any]]:
        """Return the names that the session's machine asked for."""
        return list((await self._call("GET", f"/api/auth/session/{session_id}/destinations"))["destinations"])

    async def events(self, session_id: str, after: str = "") -> AsyncGenerator[Told, None]:
        """Follow the session's events until the service ends the stream."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": after} if after else {})
        path = f"/api/auth/session/{session_id}/events"
        async with self._http.stream("GET", path, headers=headers) as answer:
            if not answer.is_success:
                raise Refused(f"GET {path}", answer.status_code, "no_events", (await answer.aread()).decode()[:200])
            async for told in read_events(answer.aiter_lines()):
                yield told

    async def screen(self, session_id: str) -> Screen:
        """Take a ticket and open the screen with it; raises Refused."""
        return await Screen.open(WebSocketWire(await self.screen_socket(session_id)))

    async def screen_socket(self, session_id: str) -> ClientConnection:
        """Take a ticket and open the screen's WebSocket with it, on which RFB begins; raises Refused."""
        ticket = (await self._call("POST", f"/api/auth/session/{session_id}/ticket", {}))["ticket"]
        address = self.base.replace("http", "ws", 1) + f"/api/auth/session/{session_id}/screen"
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self._http.cookies.jar)
        try:
            return await connect(
                address,
                origin=self.base,  # type: ignore[arg-type] # websockets' NewType of str
                subprotocols=["binary", f"ticket.{ticket}"],  # type: ignore[list-item] # as above
                additional_headers={"Cookie": cookies} if cookies else None,
                compression=None,
                proxy=None,
                max_size=2**26,
            )
        except InvalidStatus as error:
            text = (error.response.body or b"").decode(errors="replace")[:200]
            raise Refused("WS screen", error.response.status_code, "no_screen", text) from error
        except InvalidHandshake as error:
            raise Refused("WS screen", 0, "no_screen", str(error)) from error


async def read_events(lines: AsyncIterator[str]) -> AsyncGenerator[Told, None]:
    """Cut the lines of an event stream into its messages (HTML Standard, 9.2.6); comments are heartbeats."""
    name, last_id, parts = "message", "", list[str]()
    async for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "event":
                name = value
            case "id":
                last_id = value
            case "data":
                parts.append(value)
            case "" if not line:
                if parts:
                    body = json.loads("\n".join(parts))
                    yield Told(last_id, name, body if isinstance(body, dict) else {})
                name, parts = "message", []
            case _:
                pass
