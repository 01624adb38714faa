"""The commands, each as a process of its own: what they answer, with a running service and without one."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from antechamber import __version__
from antechamber.errors import OperatorError
from antechamber.model import IdPrefix, new_id
from antechamber.providers import Providers
from antechamber.store import Store, file_url
from antechamber.texts import Languages
from tests.integration.cli_scene import place

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples" / "providers"


@pytest.fixture
def here():
    with place() as made:
        yield made


def without_bwrap(*command):
    """Return a command line for which bubblewrap is not installed."""
    hidden = 'mount --bind /dev/null /usr/bin/bwrap && exec "$@"'
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *user, "--mount", "sh", "-c", hidden, "sh", *command]


def test_it_says_its_version(here):
    assert here.says("--version").out == f"antechamber {__version__}\n"


def test_a_terminal_gets_no_colour_but_what_a_command_gives(here):
    said = here.says("--version", FORCE_COLOR="1")
    assert said.out == f"antechamber {__version__}\n"
    sentence = here.says("credentials", "show", "cred_1", FORCE_COLOR="1").err.splitlines()[0]
    assert re.fullmatch(r"\x1b\[[\d;]+m[^\x1b]+\x1b\[0m", sentence)


@pytest.mark.parametrize("words", [(), ("credentials",), ("demo",)], ids=["all", "group", "command"])
def test_help_is_printed_and_nothing_is_made(here, words):
    said = here.says(*words, "--help")

    assert said.code == 0
    assert " ".join(["Usage: antechamber", *words]) in said.out
    assert list(here.root.iterdir()) == []


def test_providers_are_listed_with_what_is_installed_of_them(here):
    rows = here.says("providers", "list", "--json").json

    assert [row["id"] for row in rows] == ["claude_code", "codex", "gemini"]
    assert all(row["installed"] and len(row["sha256"]) == 64 for row in rows)
    table = here.says("providers", "list").out.splitlines()
    assert [line.split()[0] for line in table] == ["id", "claude_code", "codex", "gemini"]
    assert all(row["sha256"] in "".join(table) for row in rows), "nothing is cut where there is no terminal"


def test_a_provider_that_is_not_installed_says_so(here):
    rows = here.says("providers", "list", "--json", ANTECHAMBER_SHARED_DIR=str(here.root / "shared")).json

    assert {row["installed"] for row in rows} == {False}
    assert rows[1]["why"] == "Codex is not installed."


def test_a_demo_that_is_to_install_what_is_missing_says_when_npm_could_not(here):
    shared = here.root / "shared"

    # there is no network here, and what npm has kept of earlier times is not looked at
    npm = {"npm_config_fetch_retries": "0", "npm_config_cache": str(here.root / "npm")}
    said = here.says("demo", "--install", "--port", "0", ANTECHAMBER_SHARED_DIR=str(shared), **npm)

    assert said.code == 1
    assert "npm did not bring the program of Claude Code for this computer." in said.err
    assert "See that npm reaches its registry" in said.err
    assert "provider_not_installed" in said.err


def test_the_printed_texts_are_a_whole_translation_with_those_of_an_operators_own_providers(here):
    own, folder = here.root / "providers", here.root / "texts"
    shutil.copytree(EXAMPLES, own)
    for path in (own, *own.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o022)  # a checkout may be open to a group, and would be refused
    folder.mkdir()

    (folder / "xx.toml").write_text(here.says("texts", ANTECHAMBER_PROVIDERS_DIR=str(own)).out)

    texts = Languages.load(folder, "xx").choose(None)
    assert texts.faults == ()
    assert list(texts.providers) == [spec.id for spec in Providers.load((own,)).all()]
    assert "acme" in texts.providers


def test_definitions_are_checked(here):
    assert here.says("providers", "check", "--json").json == {"valid": ["claude_code", "codex", "gemini"]}
    assert here.says("providers", "check").out == "3 definitions are valid: claude_code, codex, gemini\n"


@pytest.mark.machine
def test_doctor_is_content_where_everything_is_there(here):
    said = here.says("doctor", "--json")

    assert said.code == 0, said.out
    checks = {check["name"]: check for check in said.json}
    assert checks["machine"]["message"] == "a machine starts and reaches its door"
    assert [name for name, check in checks.items() if check["fatal"] and not check["ok"]] == []
    assert all(check["remedy"] for check in checks.values() if not check["ok"])


def test_f052_f079c_doctor_names_the_remedy_for_each_thing_that_is_missing(here):
    command = without_bwrap(*here.command("doctor"))
    said = here.run(command, ANTECHAMBER_SHARED_DIR=str(here.root / "shared"), ANTECHAMBER_PROT="1")

    assert said.code == 1
    lines = said.out.splitlines()
    assert "note settings: ANTECHAMBER_PROT is no setting; is ANTECHAMBER_PORT meant?" in lines
    at = lines.index("FAIL bwrap: /usr/bin/bwrap is missing")
    assert lines[at + 1].strip() == "apt-get install bubblewrap"
    at = lines.index("FAIL providers: nothing can be signed in to")
    assert lines[at + 1].strip() == "antechamber providers install"
    assert not any("machine starts" in line for line in lines), "what cannot be tried is left out"


async def test_doctor_says_that_the_key_file_is_gone(here):
    async with here.opened():
        pass
    (here.data / "key").unlink()

    said = here.run(without_bwrap(*here.command("doctor")), ANTECHAMBER_SHARED_DIR=str(here.root / "shared"))

    assert "FAIL key file: The key file is missing" in said.out
    assert not (here.data / "key").exists(), "a doctor makes no key"


@pytest.mark.parametrize("which", ["antechamber.db", "antechamber.db-shm"])
async def test_a_database_that_cannot_be_written_is_named_by_the_doctor_and_at_the_start(here, monkeypatch, which):
    async with here.opened():
        pass
    path = here.data / which
    path.touch()
    # root may write everything, so that it is only said
    able = os.access
    monkeypatch.setattr(os, "access", lambda at, mode: Path(at) != path and able(at, mode))
    url = file_url(here.data / "antechamber.db")
    for ask in (Store.look, Store.open):
        with pytest.raises(OperatorError, match=f"{which} is read-only"):
            await ask(url, world="demo")


@pytest.mark.parametrize("running", [True, False], ids=["asked_of_the_service", "read_from_the_store"])
async def test_sessions_and_credentials_are_told_alike_whether_a_service_runs_or_not(here, running):
    async with here.opened() as installation:
        completed, credential = await installation.complete("ada")
        waiting = await installation.start("bob")
        if running:
            async with installation.answering(here.data):
                told = await asked(here, completed, credential)
    if not running:
        told = await asked(here, completed, credential)

    assert [row["id"] for row in told["all"]] == [waiting, completed]
    assert [row["id"] for row in told["of ada"]] == [completed]
    assert told["all"][1]["status"] == "completed"
    assert told["all"][1]["created_at"].endswith("Z")
    assert told["story"]["machine"]["driver"] == "scripted"
    assert told["story"]["purpose"] == "nightly [bold]builds[/]"
    assert [event["kind"] for event in told["story"]["events"]][-1] == "captured"
    assert [row["id"] for row in told["credentials"]] == [credential]
    assert told["credential"]["account"] == "person@example.com"
    assert (told["credential"]["status"], told["credential"]["status_reason"]) == ("active", "signed_in")
    assert [one["kind"] for one in told["credential"]["story"]] == ["captured"]
    assert "eyJ" not in str(told), "no secret is told"


async def asked(here, session_id, credential_id):
    questions = {
        "all": ("sessions", "list", "--json"),
        "of ada": ("sessions", "list", "--user", "ada", "--json"),
        "story": ("sessions", "show", session_id, "--json"),
        "credentials": ("credentials", "list", "--json"),
        "credential": ("credentials", "show", credential_id),
    }
    # one after the other: without a service each of them opens the store, which is for one at a time
    told = {name: (await here.says_meanwhile(*words)).json for name, words in questions.items()}
    assert session_id in (await here.says_meanwhile("sessions", "list")).out
    story = (await here.says_meanwhile("sessions", "show", session_id)).out
    assert "captured" in story
    assert "version 1" in story
    assert "{" not in story, "what an event carries is told in words"
    assert "nightly [bold]builds[/]" in story, "what a caller wrote is not taken for markup"
    return told


@pytest.mark.parametrize("running", [True, False], ids=["asked_of_the_service", "done_in_the_store"])
async def test_a_credential_is_deleted_when_that_is_confirmed(here, running):
    async with here.opened() as installation:
        _, credential = await installation.complete("ada")
        if running:
            async with installation.answering(here.data):
                await deleted(here, credential)
    if not running:
        await deleted(here, credential)


async def deleted(here, credential_id):
    marked = await here.says_meanwhile("credentials", "mark", credential_id, "vendor-refused")
    assert marked.out.strip() == "needs_sign_in (vendor_refused)"
    marked = await here.says_meanwhile("credentials", "mark", credential_id, "revoked")
    assert marked.out.strip() == "revoked (said_revoked)"
    assert "said_revoked" in (await here.says_meanwhile("credentials", "list")).out
    refused = await here.says_meanwhile("credentials", "delete", credential_id, typed="n\n")
    assert refused.code == 1
    assert "Delete the credential of ada for codex?" in refused.out
    assert (await here.says_meanwhile("credentials", "show", credential_id)).code == 0

    done = await here.says_meanwhile("credentials", "delete", credential_id, "--yes")

    assert done.code == 0, done.err
    assert done.out.splitlines()[0].startswith("Deleted. The vendor may still hold the grant")
    assert done.out.splitlines()[1].startswith("https://")
    assert len(done.out.splitlines()) == 2, "standard output is the command's own"
    _, _, code = (await here.says_meanwhile("credentials", "show", credential_id)).error()
    assert code == "credential_not_found"


@pytest.mark.parametrize("running", [True, False], ids=["asked_of_the_service", "read_from_the_store"])
async def test_ids_that_are_malformed_or_unknown_are_the_callers_errors(here, running):
    async with here.opened() as installation:
        if running:
            async with installation.answering(here.data):
                await wrong_ids(here)
    if not running:
        await wrong_ids(here)


async def wrong_ids(here):
    for words, expected in (
        (("sessions", "show", "nobody"), "malformed_id"),
        (("sessions", "show", new_id(IdPrefix.CREDENTIAL)), "malformed_id"),
        (("sessions", "show", new_id(IdPrefix.SESSION)), "session_not_found"),
        (("credentials", "show", "[bold]x[/]"), "malformed_id"),
        (("credentials", "show", new_id(IdPrefix.CREDENTIAL)), "credential_not_found"),
        (("credentials", "delete", new_id(IdPrefix.CREDENTIAL), "--yes"), "credential_not_found"),
    ):
        sentence, next_step, code = (await here.says_meanwhile(*words)).error()
        assert code == expected
        assert sentence.endswith(".")
        assert next_step.endswith(".")
