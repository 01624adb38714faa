"""Applications and their keys on the command line, whether a service runs or not."""

from __future__ import annotations

import pytest

from antechamber.model import ApiScope, Secret
from tests.integration.cli_scene import place

SCOPES = ("--scope", "sessions:write", "--scope", "sessions:read")


@pytest.fixture(params=[True, False], ids=["asked_of_the_service", "done_in_the_store"])
async def here(request):
    with place() as found:
        async with found.opened() as installation:
            if request.param:
                async with installation.answering(found.data):
                    yield found
        if not request.param:
            yield found


async def holder(here, key):
    async with here.opened() as installation:
        return await installation.signin.applications.holder(Secret(key))


async def rows(here, *words):
    return (await here.says_meanwhile(*words, "--json")).json


async def test_an_application_is_added_and_changed(here):
    assert await rows(here, "applications", "list") == []
    url = "https://acme.example.test/bind"
    added = await here.says_meanwhile("applications", "add", "Acme Builds", "--bind-url", url)
    (row,) = await rows(here, "applications", "list")
    assert (added.out.strip(), "Acme Builds", url, None) == (
        row["id"],
        row["name"],
        row["bind_url"],
        row["disabled_at"],
    )
    changed = await here.says_meanwhile(
        "applications", "change", row["id"], "--name", "Acme", "--no-bind-url", "--disable"
    )
    assert changed.code == 0, changed.err
    (row,) = await rows(here, "applications", "list")
    assert (row["name"], row["bind_url"], row["disabled_at"] is None) == ("Acme", None, False)
    assert (await here.says_meanwhile("applications", "change", row["id"], "--enable")).code == 0
    assert (await rows(here, "applications", "list"))[0]["disabled_at"] is None


async def test_an_applications_limits_are_set_and_lifted(here):
    added = await here.says_meanwhile("applications", "add", "Acme", "--live", "5")
    (row,) = await rows(here, "applications", "list")
    assert (row["live"], row["starts_an_hour"]) == (5, 0)
    application = added.out.strip()
    changed = await here.says_meanwhile("applications", "change", application, "--live", "0", "--starts-an-hour", "9")
    assert changed.code == 0, changed.err
    (row,) = await rows(here, "applications", "list")
    assert (row["live"], row["starts_an_hour"]) == (0, 9)
    too_many = await here.says_meanwhile("applications", "change", application, "--live", "1000001")
    assert too_many.error()[2] == "bad_request"
    assert (await here.says_meanwhile("applications", "change", application, "--live", "-1")).code == 2


async def test_a_key_is_printed_once_works_and_is_revoked(here):
    application = (await here.says_meanwhile("applications", "add", "Acme")).out.strip()
    made = await here.says_meanwhile("api-keys", "add", application, "--name", "production", "--days", "30", *SCOPES)
    assert made.code == 0, made.err
    key = made.out.strip()
    assert key.startswith("ante_")
    (row,) = await rows(here, "api-keys", "list", application)
    assert (row["name"], row["scopes"], row["last_used_at"], row["revoked_at"]) == (
        "production",
        ["sessions:read", "sessions:write"],
        None,
        None,
    )
    assert row["expires_at"] > row["created_at"]
    assert row["id"] in made.err
    listed = await here.says_meanwhile("api-keys", "list")
    assert row["id"] in listed.out
    assert key not in listed.out + str(row) + made.err
    assert (await here.says_meanwhile("api-keys", "revoke", row["id"])).code == 0
    assert (await rows(here, "api-keys", "list"))[0]["revoked_at"] is not None


async def test_what_a_key_is_made_for_it_opens_until_it_is_revoked():
    with place() as here:
        async with here.opened():
            pass
        application = (await here.says_meanwhile("applications", "add", "Acme")).out.strip()
        key = (await here.says_meanwhile("api-keys", "add", application, *SCOPES)).out.strip()
        found = await holder(here, key)
        assert (found.application, found.scopes) == (
            application,
            {ApiScope.SESSIONS_WRITE, ApiScope.SESSIONS_READ},
        )
        await here.says_meanwhile("api-keys", "revoke", found.id)
        assert await holder(here, key) is None


async def test_what_is_wrong_is_said_with_what_to_do(here):
    application = (await here.says_meanwhile("applications", "add", "Acme")).out.strip()
    nobody = "app_00000000000000000000"
    for words, code in (
        (("applications", "add", "Acme"), "application_exists"),
        (("applications", "add", " Acme"), "bad_request"),
        (("applications", "add", "Other", "--bind-url", "ftp://acme.example.test"), "bad_request"),
        (("applications", "change", application), "bad_request"),
        (("applications", "change", nobody, "--name", "x"), "application_not_found"),
        (("api-keys", "add", nobody, *SCOPES), "application_not_found"),
        (("api-keys", "add", "nonsense", *SCOPES), "malformed_id"),
        (("api-keys", "list", nobody), "application_not_found"),
        (("api-keys", "revoke", "apk_00000000000000000000"), "api_key_not_found"),
    ):
        assert (await here.says_meanwhile(*words)).error()[2] == code, words
    for words in (
        ("api-keys", "add", application),
        ("api-keys", "add", application, "--scope", "everything"),
        ("api-keys", "add", application, *SCOPES, "--days", "0"),
        ("applications", "change", application, "--enable", "--disable"),
    ):
        assert (await here.says_meanwhile(*words)).code == 2, words
