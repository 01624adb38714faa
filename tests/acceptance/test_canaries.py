"""Of a whole sign-in, with a real tool and a real browser, no secret stays anywhere but in its own place."""

from __future__ import annotations

import base64
import json
import signal

import pytest

from antechamber.model import Owner
from antechamber.providers import Providers
from antechamber.settings import Settings
from antechamber.signin import SignIn
from antechamber.store import Store, file_url
from antechamber.vault import Vault
from tests.acceptance import canaries
from tests.opening import opened

LOOKED_AT = (
    "/api/dashboard", "/api/providers", "/api/auth/sessions", "/api/auth/session/{id}", "/api/auth/session/{id}/story",
    "/api/auth/session/{id}/credentials", "/api/credentials", "/api/machines", "/api/status", "/api/audit",
    "/api/applications", "/metrics", "/api/auth/session/ses_x", "/api/nothing", "/",
)  # fmt: skip


# what every installation of the tool tells its vendor, and shows in the address of the sign-in page
PUBLIC = (".issuer", ".client_id", ".scope", ".last_refresh")


async def answers(client, session_id):
    """Return what the API says to whoever may look, errors included."""
    found = {}
    for path in LOOKED_AT:
        answer = await client.get(path.format(id=session_id))
        found[f"GET {path}"] = answer.content + str(answer.headers).encode()
    return found


async def stored(service, person):
    """Return what is sealed, opened with the key as the service does it; the service has ended."""
    store = await Store.open(file_url(service.data / "antechamber.db"), world="demo")
    try:
        vault = Vault.open(service.data / "key", known_key_id=await store.key_id(), has_rows=True)
        signin = SignIn(
            store=store,
            vault=vault,
            providers=Providers.load(),
            settings=Settings(world="demo"),
            driver="none",
            require=lambda spec: None,
        )
        return json.loads(await opened(signin, Owner(person.user_id), person.provider))
    finally:
        await store.close()


@pytest.mark.machine
@pytest.mark.timeout(240)
@pytest.mark.parametrize("provider", ["codex", "claude_code", "gemini"])
async def test_no_secret_of_a_sign_in_is_left_anywhere_but_in_its_place(scene, provider):
    service, person = scene.service, await scene.person(provider)
    links = []
    opens = person.browser.open

    async def opening(started):
        links.append(started.link_code)
        await opens(started)

    person.browser.open = opening
    await person.to_the_code()
    held = canaries.processes()
    cookie = next(iter(person.browser._http.cookies.values()))
    page = (await person.browser._http.get(f"/api/auth/session/{person.session_id}")).content
    await person.from_the_code()
    assert await person.ended() == "completed"
    # neither tool nor browser hides the name that it asks for
    used = await person.browser.destinations(person.session_id)
    assert used
    assert "wrong_server_name" not in {use["verdict"] for use in used}
    assert await service.control.call("credentials.check", provider=provider, user_id=person.user_id)
    # what is given out in plain text stays nowhere either
    await service.control.call("providers.reveal", provider=provider, terms_read_on="2026-01-31")
    (row,) = await service.control.call("credentials.list", user_id=person.user_id)
    assert (await service.control.call("credentials.reveal", id=row["id"], reason="to look for it"))["files"]
    held |= canaries.processes() | await answers(person.application._http, person.session_id) | {"the page": page}
    await service.machine_gone(person.session_id)
    await person.leave()
    await service.end(signal.SIGTERM)

    bundle = await stored(service, person)
    secrets = {"operator token": service.token.reveal(), "link": links[0], "cookie": cookie}
    for name, file in bundle["files"].items():
        held_in = canaries.strings(json.loads(file["content"]), name)
        # the account is a claim, which its person and the operator see
        secrets |= {
            where: text for where, text in held_in.items() if not where.endswith(PUBLIC) and text != person.email
        }
    assert len(secrets) > 4, "the tool's file holds tokens"
    # the vendor knows what it gave out, and its stand-in keeps that
    held |= {path: content for path, content in canaries.files(service.folder).items() if "/stand-in/" not in path}
    assert len([path for path in held if path.startswith(str(service.data))]) > 5

    found = canaries.where(secrets, held)
    assert found == {("operator token", str(service.data / "operator-token"))}


def test_a_secret_is_found_however_it_is_written():
    secret = "DUMMY-ünd/+secret?of&some=length"
    for spelling in canaries.spellings(secret):
        assert canaries.where({"it": secret}, {"there": b"before " + spelling + b" after"}) == {("it", "there")}
    for before in ("", "a", "ab"):
        content = base64.b64encode(f"{before}{secret} and more".encode())
        assert canaries.where({"it": secret}, {"there": content}), before
    assert canaries.where({"it": secret}, {"there": b"DUMMY"}) == set()
