"""A person at the stand-in's pages, and a CLI behind them, over the stand-in's TLS socket."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import secrets
import ssl
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx

from antechamber.testing.practice import StandInClient


@contextlib.contextmanager
def running():
    """A stand-in of its own, in a short folder."""
    with tempfile.TemporaryDirectory(prefix="standin-") as folder:
        client = asyncio.run(StandInClient.start(Path(folder) / "s"))
        try:
            yield client
        finally:
            asyncio.run(client.stop())


class Page(HTMLParser):
    """What a keyboard meets: the form, its fields, what has the focus."""

    def __init__(self, answer: httpx.Response):
        super().__init__()
        self.answer = answer
        self.name = self.action = self.focus = None
        self.focused = 0
        self.fields: dict[str, str] = {}
        self.buttons: dict[str, tuple[str, str]] = {}
        self.text = ""
        self.feed(answer.text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag == "body":
            self.name = values.get("data-page")
        if tag == "form":
            self.action = urljoin(str(self.answer.url), values["action"])
        if tag == "input":
            self.fields[values["name"]] = values.get("value", "")
        if tag == "button" and "name" in values:
            self.buttons[values["value"]] = (values["name"], values["value"])
        if "autofocus" in values:
            self.focused += 1
            self.focus = values["name"]

    def handle_data(self, text):
        self.text += text


def browser(folder, ca, *, plain=False) -> httpx.AsyncClient:
    transport = httpx.AsyncHTTPTransport(
        uds=os.fspath(folder / ("plain.sock" if plain else "tls.sock")), verify=ssl.create_default_context(cadata=ca)
    )
    return httpx.AsyncClient(transport=transport, timeout=30)


async def follow(client: httpx.AsyncClient, answer: httpx.Response) -> httpx.Response:
    """Follow redirects as far as they stay with the vendor; the one to the CLI's callback is returned."""
    while answer.is_redirect and urlsplit(answer.headers["location"]).scheme in {"", "https"}:
        answer = await client.get(urljoin(str(answer.url), answer.headers["location"]))
    return answer


async def open_page(client, url) -> Page:
    return Page(await follow(client, await client.get(url)))


async def submit(client, page: Page, choice: str | None = None, **typed) -> httpx.Response:
    form = {**page.fields, **typed}
    if choice:
        name, value = page.buttons[choice]
        form[name] = value
    return await follow(client, await client.post(page.action, data=form))


async def consent_page(client, url, email="robin@practice.dev") -> Page:
    page = await open_page(client, url)
    page = Page(await submit(client, page, email=email))
    return Page(await submit(client, page, code="123456"))


async def callback(client, url, choice="authorize", email="robin@practice.dev") -> dict[str, str]:
    """Go through all pages and return what the CLI's callback gets."""
    answer = await submit(client, await consent_page(client, url, email), choice)
    assert answer.status_code == 303
    return {key: values[0] for key, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}


class Asked:
    """An authorize request as a vendor's CLI makes it."""

    def __init__(self, base, client_id, redirect_uri, *, pkce=True, scope="openid profile email"):
        self.verifier = secrets.token_urlsafe(48) if pkce else None
        self.state = secrets.token_urlsafe(16)
        self.base = base
        self.fields = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": redirect_uri,
            "scope": scope,
            "state": self.state,
        }
        if self.verifier is not None:
            digest = hashlib.sha256(self.verifier.encode()).digest()
            self.fields["code_challenge"] = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            self.fields["code_challenge_method"] = "S256"

    def url(self, **other) -> str:
        fields = {key: value for key, value in {**self.fields, **other}.items() if value is not None}
        return str(httpx.URL(self.base, params=fields))

    def token_request(self, code, **other) -> dict[str, str]:
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "client_id": self.fields["client_id"],
            "redirect_uri": self.fields["redirect_uri"],
            "code_verifier": self.verifier,
            **other,
        }
        return {key: value for key, value in fields.items() if value is not None}


def codex() -> Asked:
    return Asked(
        "https://auth.openai.com/oauth/authorize", "app_EMoamEEZ73f0CkXaXp7hrann", "http://127.0.0.1:1455/auth/callback"
    )


def claude() -> Asked:
    return Asked(
        "https://claude.com/cai/oauth/authorize",
        "9d1c250a-e61b-44d9-88ed-5944d1962f5e",
        "http://localhost:34567/callback",
        scope="user:profile user:inference",
    )


def gemini() -> Asked:
    return Asked(
        "https://accounts.google.com/o/oauth2/v2/auth",
        "681255809395-oo8ft2oprdrnp9e3aqf6av3hmdib135j.apps.googleusercontent.com",
        "http://127.0.0.1:45678/oauth2callback",
        pkce=False,
    )
