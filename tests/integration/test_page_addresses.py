"""Every address that stands in the pages' own code is one that their site has, and none names a host."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

import antechamber.web
from tests.integration.web_service import running

STATIC = Path(antechamber.web.__file__).parent / "static"
TEMPLATES = STATIC.parent / "templates"
RUN = "run_00000000000000000000"
SITES = {"signin": "sign_in", "dashboard": "dashboard", "terminal.js": "dashboard"}
_LITERAL = re.compile(r'"(/(?:api|static)/[^"]*)"|`((?:\$\{path\}|/(?:api|static))/[^`]*)`')
_LOADED = re.compile(r'(?:\bfrom|\bimport\(?)\s*"([^"]+)"')
_HOST = re.compile(r"""["'`](?:https?|wss?):?//[^"'`]+["'`]""")


def sources():
    return [path for path in sorted(STATIC.rglob("*.js")) if "vendor" not in path.parts]


@dataclass(frozen=True)
class Call:
    """One address in the code of a page, and how the page asks for it."""

    file: str
    method: str
    address: str


def calls():
    found = []
    for path in sources():
        text = path.read_text()
        for literal in _LITERAL.finditer(text):
            before = text[: literal.start()]
            said = re.search(r'call\("(\w+)", $', before)
            is_socket = before.endswith(("new URL(", "lineTo("))
            method = said[1] if said else "WEBSOCKET" if is_socket else "GET"
            file = path.relative_to(STATIC).as_posix()
            if file == "line.js":
                continue  # what it is given are the addresses of others
            address = literal[1] or literal[2].replace("${path}", "/api/auth/session/${id}")
            if before.endswith("lineTo("):
                found.append(Call(file, "POST", f"{address}/ticket"))
            found += [Call(file, method, address.replace("${exchange}", route)) for route in exchanges(text, address)]
    return found


def exchanges(text, address):
    """Return the routes that a page exchanges a code at, where the address is of these; else one that says nothing."""
    if "${exchange}" not in address:
        return [""]
    (either,) = re.findall(r'await open\(code, \w+ \? "(\w+)" : "(\w+)"\)', text)
    return either


@pytest.fixture
async def service(tmp_path):
    async with running(tmp_path) as service:
        yield service


async def answered(client, call, names):
    """Return (status, code) of what the page would ask for."""
    address = re.sub(r"\$\{((?:[^{}]|\{[^}]*\})*)\}", lambda part: names[part[1]], call.address)
    method, headers = call.method, {}
    if method == "WEBSOCKET":
        method, headers = "GET", {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        headers |= {"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Protocol": "binary, ticket.x"}
    body = None if method == "GET" else {}
    async with client.stream(method, address, headers=headers, json=body) as answer:
        if "json" not in answer.headers.get("content-type", "") or answer.is_success:
            return answer.status_code, None
        await answer.aread()
        return answer.status_code, answer.json()["error"]["code"]


async def test_f007_f103_each_address_that_a_page_calls_is_a_route_of_its_own_site(service):
    told = calls()
    assert {"WEBSOCKET", "GET", "POST", "DELETE"} == {call.method for call in told}
    session_id, browser = await service.opened()
    await service.ready(session_id)
    await service.capture(session_id)
    operator = await service.operator()
    (credential,) = (await operator.get("/api/credentials")).json()["credentials"]
    session, sealed = ["id", "this._id", "stopping.session_id", "encodeURIComponent(route.id)"], "removing.id"
    names = dict.fromkeys(session, session_id) | {
        sealed: credential["id"],
        "ending.id": credential["id"],
        "endingRun.id": RUN,
        "limiting.id": "app_00000000000000000000",
        "LISTED": "10",
        "query": "limit=10",
    }
    owner = (await service.signin.session(session_id)).owner.user_id
    erasing = "new URLSearchParams({ user_id: erasing.user_id, application: erasing.application })"
    of_owner = f"user_id={owner}&application=default"
    names |= {erasing: "user_id=nobody&application=default", "label": of_owner, "LATEST": "10", "OPERATORS": "default"}
    for call in told:
        site = SITES[call.file.partition("/")[0]]
        client = browser if site == "sign_in" else operator
        known = names | ({"id": credential["id"]} if "/credentials/" in call.address else {})
        known |= {"id": RUN, "encodeURIComponent(route.id)": RUN} if "/runs/" in call.address else {}
        status, code = await answered(client, call, known)
        assert status not in {405, 421}, call
        # nobody logs in by an issuer here, where that address is nothing
        assert (code == "not_found") is (call.address == "/api/dashboard/login"), call


async def test_f007_each_file_that_a_page_loads_is_served(service):
    wanted = {
        ((path.parent / found[1]).resolve().relative_to(STATIC.resolve())).as_posix()
        for path in sources()
        for found in _LOADED.finditer(path.read_text())
        if found[1].startswith(".")
    }
    absolute = [found[1] or found[2] for path in sources() for found in _LITERAL.finditer(path.read_text())]
    absolute += [found[1] for path in sources() for found in _LOADED.finditer(path.read_text())]
    for page in TEMPLATES.glob("*.html"):
        absolute += re.findall(r'(?:href|src)="([^"#]+)"', page.read_text())
    wanted |= {address.removeprefix("/static/") for address in absolute if address.startswith("/static/")}
    assert len(wanted) > 20
    stranger = await service.stranger()
    for name in sorted(wanted):
        answer = await stranger.get(f"/static/{name}")
        assert answer.status_code == 200, name


def test_f101_no_page_names_a_host():
    named = [
        (path.name, found[0])
        for path in [*sources(), *TEMPLATES.glob("*.html")]
        for found in _HOST.finditer(path.read_text())
    ]
    assert named == []


def test_f086a_a_page_of_https_opens_its_websockets_by_wss():
    opened = [path for path in sources() if "new WebSocket(" in path.read_text()]
    assert len(opened) == 2
    for path in opened:
        text = path.read_text()
        assert re.search(r"new URL\((?:`/api/[^`]+`|path), location\.href\)", text), path.name
        assert 'address.protocol = address.protocol === "https:" ? "wss:" : "ws:"' in text, path.name
