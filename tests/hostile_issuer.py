"""An issuer in the test's hand, on loopback: right in everything until a test has it lie, stall or say nonsense."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import json
import secrets
import threading
import time
from functools import cache
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, parse_qsl, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

if TYPE_CHECKING:
    from collections.abc import Callable

JSON = "application/json"


@cache
def key_of(kid: str) -> RSAKey:
    """Return the key of that id, the same for all tests of a run: making one takes time."""
    return RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256", "kid": kid}, private=True)


class HostileIssuer:
    """Serves within `with`; what a test changes in it holds from then on."""

    def __init__(self) -> None:
        self.secret = f"DUMMY-{secrets.token_hex(16)}"
        self.key = key_of("k1")
        self.published = [self.key.as_dict(private=False)]
        self.discovery: dict[str, Any] = {}
        """What its document says otherwise; None leaves a field out."""
        self.claims: dict[str, Any] = {}
        """What its token says otherwise; None leaves a claim out."""
        self.header: dict[str, Any] = {}
        self.token: dict[str, Any] = {}
        """What its token answer says otherwise."""
        self.sign: Callable[[dict[str, Any], dict[str, Any]], str] = self._sign
        self.user_info: dict[str, Any] = {"sub": "ada", "email": "ada@example.com", "email_verified": True}
        self.instead: dict[str, Callable[[http.server.BaseHTTPRequestHandler], None]] = {}
        """What answers a path instead."""
        self.asked: list[tuple[str, dict[str, str], dict[str, str]]] = []
        """Path, headers and form of each request."""
        self.nonce = ""
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer._answer(self)

            def do_POST(self) -> None:
                issuer._answer(self)

            def log_message(self, *_: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def settings(self) -> dict[str, Any]:
        """What names it to a service, without saying who may come in."""
        return {"oidc_issuer": self.url, "oidc_client_id": "antechamber", "oidc_client_secret": self.secret}

    def sent_to(self, url: str) -> dict[str, str]:
        """Be gone to as a browser is; return what it was asked."""
        asked = dict(parse_qsl(urlsplit(url).query))
        self.nonce = asked["nonce"]
        return asked

    def back(self, asked: dict[str, str], **otherwise: str | None) -> str:
        """Return the path by which it sends the browser back."""
        said = {"code": "DUMMY-code", "state": asked["state"], "iss": self.url} | otherwise
        query = "&".join(f"{name}={value}" for name, value in said.items() if value is not None)
        return f"/login/callback?{query}"

    def document(self) -> dict[str, Any]:
        said = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/auth",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "userinfo_endpoint": f"{self.url}/me",
            "end_session_endpoint": f"{self.url}/end",
            "authorization_response_iss_parameter_supported": True,
            "id_token_signing_alg_values_supported": ["RS256", "ES256", "HS256", "none"],
        } | self.discovery
        return {name: value for name, value in said.items() if value is not None}

    def id_token(self) -> str:
        at = int(time.time())
        said = {
            "iss": self.url,
            "sub": "ada",
            "aud": "antechamber",
            "exp": at + 300,
            "iat": at,
            "nonce": self.nonce,
            "email": "ada@example.com",
            "email_verified": True,
        } | self.claims
        return self.sign({name: value for name, value in said.items() if value is not None}, self.header)

    def _sign(self, claims: dict[str, Any], header: dict[str, Any]) -> str:
        return jwt.encode({"alg": "RS256", "kid": self.key.kid, **header}, claims, self.key)

    def sign_symmetrically(self, secret: bytes) -> None:
        """Sign with what is no secret of the issuer's alone from now on; by hand, as no library would."""

        def sign(claims: dict[str, Any], _: dict[str, Any]) -> str:
            signed = ".".join(_written({"alg": "HS256", "kid": self.key.kid}, claims))
            digest = hmac.digest(secret, signed.encode(), hashlib.sha256)
            return f"{signed}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"

        self.sign = sign

    def _answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        path = urlsplit(request.path).path
        raw = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        form = {name: values[0] for name, values in parse_qs(raw.decode()).items()}
        self.asked.append((path, {name.lower(): value for name, value in request.headers.items()}, form))
        if path in self.instead:
            self.instead[path](request)
            return
        if path == "/token":
            said: Any = {
                "token_type": "Bearer",
                "access_token": "DUMMY-access",
                "id_token": self.id_token(),
            } | self.token
            said = {name: value for name, value in said.items() if value is not None}
        else:
            said = {
                "/.well-known/openid-configuration": self.document(),
                "/keys": {"keys": self.published},
                "/me": self.user_info,
            }[path]
        answer(json.dumps(said).encode())(request)


def unsigned(claims: dict[str, Any], _: dict[str, Any]) -> str:
    """Return a token that says itself that nobody signed it."""
    return ".".join((*_written({"alg": "none", "typ": "JWT"}, claims), ""))


def _written(*parts: dict[str, Any]) -> list[str]:
    return [base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=").decode() for one in parts]


def answer(body: bytes, *, status: int = 200, kind: str | None = JSON, **headers: str):
    """Return what answers a request with that."""

    def answered(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        if kind is not None:
            request.send_header("Content-Type", kind)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return answered


def endless(request: http.server.BaseHTTPRequestHandler) -> None:
    """Answer without end, as fast as it is taken."""
    request.send_response(200)
    request.send_header("Content-Type", JSON)
    request.end_headers()
    try:
        while True:
            request.wfile.write(b'{"a": "' + b"a" * 65_536)
    except OSError:
        pass


class Stalling:
    """Answers a byte and no more until it is let go."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.let_go = threading.Event()

    def __call__(self, request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", JSON)
        request.end_headers()
        request.wfile.write(b"{")
        request.wfile.flush()
        self.reached.set()
        self.let_go.wait(60)
