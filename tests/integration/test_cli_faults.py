"""What keeps a service or a command from working: a sentence, the next step, a code and exit code 1, no traceback."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from pathlib import Path

import pytest

from tests.integration.cli_scene import place


@pytest.fixture
def here():
    with place() as made:
        yield made


def test_all_faults_of_the_settings_are_named_at_once(here):
    sentence, next_step, code = here.says(
        "serve",
        ANTECHAMBER_PORT="seventy",
        ANTECHAMBER_SWEEP_S="0",
        ANTECHAMBER_RUN_DIR="somewhere",
        ANTECHAMBER_SIGN_IN_URL="example.com/sign-in",
        ANTECHAMBER_LOG_LEVEL="LOUD",
        ANTECHAMBER_DRIVERS="",
    ).error()

    assert code == "misconfigured"
    named = {word.rstrip(":") for word in sentence.split() if word.startswith("ANTECHAMBER_")}
    assert named == {
        f"ANTECHAMBER_{name}" for name in ("PORT", "SWEEP_S", "RUN_DIR", "SIGN_IN_URL", "LOG_LEVEL", "DRIVERS")
    }
    assert "docs/settings.md" in next_step


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ANTECHAMBER_DRIVERS": "namespace, moon"}, "There is no driver moon; there are namespace."),
        ({"ANTECHAMBER_RUN_DIR": "/tmp/" + "x" * 90}, "The run folder's path is too long for unix sockets"),
        ({"ANTECHAMBER_SIGN_IN_URL": "http://127.0.0.1:9"}, "dashboard_url and sign_in_url have the same host name."),
        ({"ANTECHAMBER_BIND": "nowhere.invalid"}, "Cannot listen on nowhere.invalid"),
        ({"ANTECHAMBER_DATABASE_URL": "oracle://x"}, ""),
        ({"ANTECHAMBER_DATA_DIR": "/proc/antechamber"}, "The folder /proc/antechamber cannot be made"),
        ({"ANTECHAMBER_DATA_DIR": "/etc/hostname"}, "/etc/hostname is not a folder."),
        (
            {"ANTECHAMBER_WORKSPACE_ROOTS": "here"},
            "These settings are not valid: ANTECHAMBER_WORKSPACE_ROOTS: must be /FOLDER or app_…=/FOLDER each",
        ),
        (
            {"ANTECHAMBER_WORKSPACE_ROOTS": "/srv,/usr"},
            "These settings are not valid: ANTECHAMBER_WORKSPACE_ROOTS: names two folders",
        ),
        (
            {"ANTECHAMBER_WORKSPACE_ROOTS": "/nowhere,app_x=/"},
            "ANTECHAMBER_WORKSPACE_ROOTS: /nowhere: is no folder; /: holds or lies in the service's own folder",
        ),
        ({"ANTECHAMBER_EGRESS_DENY": "10.0.0.0/99"}, "egress_deny has entries that are neither names nor networks"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_settings_that_cannot_work_keep_the_service_from_starting(here, settings, said):
    sentence, _, code = here.says("serve", "--port", "0", **settings).error()

    assert code == "misconfigured"
    assert sentence.startswith(said)


def test_a_folder_of_another_account_is_refused_with_both_uids(here):
    other = here.root / "other"
    if os.geteuid() == 0:
        other.mkdir()
        os.chown(other, 12_345, 12_345)
    else:
        other = Path("/usr")

    sentence, next_step, code = here.says("serve", ANTECHAMBER_DATA_DIR=str(other)).error()

    assert code == "wrong_owner"
    assert f"belongs to uid {other.stat().st_uid}, and this runs as uid {os.geteuid()}" in sentence
    assert f"Run as uid {other.stat().st_uid}" in next_step


def test_a_port_that_is_taken_is_named(here):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sentence, next_step, code = here.says("serve", "--port", str(port)).error()

    assert code == "misconfigured"
    assert sentence == f"Cannot listen on 127.0.0.1 port {port}: Address already in use."
    assert next_step.startswith("Choose another port")


def test_commands_that_need_a_service_say_that_none_runs(here):
    sentence, _, code = here.says("link").error()
    assert (sentence, code) == (f"No service runs with the data directory {here.data}.", "service_not_running")

    sentence, next_step, code = here.says("sessions", "list").error()
    assert sentence.startswith(f"There is nothing in {here.data}")
    assert "--world demo" in next_step
    assert code == "service_not_running"
    assert not here.data.exists(), "looking makes no installation"


def test_an_unknown_provider_is_named_beside_those_that_there_are(here):
    for words in (("demo", "--headless", "codex", "cursor", "--json"), ("providers", "install", "cursor")):
        sentence, _, code = here.says(*words).error()
        assert sentence == "There is no provider cursor; there are claude_code, codex, gemini."
        assert code == "unknown_provider"


@pytest.mark.parametrize(
    "words",
    [
        ("sessions", "list", "--world", "moon"),
        ("sessions", "list", "--limit", "0"),
        ("serve", "--port", "http"),
        ("demo", "codex"),
        ("demo", "--json"),
        ("sing",),
        ("sessions", "show"),
    ],
    ids=" ".join,
)
def test_a_command_that_is_not_understood_says_how_it_is_used(here, words):
    said = here.says(*words)

    assert said.code == 2
    assert "Usage: antechamber" in said.err
    assert "Traceback" not in said.err


async def break_key(here, how):
    """Do to the key file of an installation, which holds a credential, what must keep the service from starting."""
    async with here.opened() as installation:
        await installation.complete()
    key = here.data / "key"
    match how:
        case "key_missing":
            key.unlink()
        case "key_exposed":
            key.chmod(0o640)
        case "key_unreadable":
            key.write_text("not a keyset")
        case "key_mismatch":
            with place() as elsewhere:
                async with elsewhere.opened():
                    shutil.copyfile(elsewhere.data / "key", key)
    return key


@pytest.mark.parametrize("how", ["key_missing", "key_exposed", "key_unreadable", "key_mismatch"])
async def test_a_key_file_that_is_not_the_right_one_stops_everything_and_is_not_made_anew(here, how):
    key = await break_key(here, how)
    before = key.read_bytes() if key.exists() else None

    for words in (("serve", "--port", "0"), ("credentials", "list")):
        _, _, code = here.says(*words).error()
        assert code == how

    assert (key.read_bytes() if key.exists() else None) == before


@pytest.mark.parametrize(
    ("text", "mode", "expected"), [("x" * 43, 0o644, "key_exposed"), ("", 0o600, "key_unreadable")]
)
def test_a_token_that_others_can_read_or_that_is_none_is_refused(here, text, mode, expected):
    here.data.mkdir(mode=0o700)
    token = here.data / "operator-token"
    token.write_text(text)
    token.chmod(mode)

    sentence, next_step, code = here.says("serve", "--port", "0").error()

    assert code == expected
    assert str(token) in sentence
    assert next_step == "Delete it: a new token is made at the next start."


async def test_a_data_directory_belongs_to_one_world_for_ever(here):
    async with here.opened("serve"):
        pass

    for words in (("demo", "--port", "0"), ("sessions", "list", "--world", "demo")):
        _, next_step, code = here.says(*words).error()
        assert code == "wrong_world"
        assert next_step == "Use another data directory for this command."

    told = [path.name for path in Path("/proc").glob("[0-9]*/cmdline") if str(here.data) in read(path)]
    assert told == [], "no stand-in is left behind"


def read(path):
    try:
        return path.read_text()
    except OSError:
        return ""


@pytest.mark.machine
def test_f091_a_running_service_answers_the_commands_and_keeps_others_off_its_data(here):
    with here.serving("serve", "--port", "0") as (service, announced):
        link = next(word for word in announced.split() if "#code=" in word)
        again = here.says("link")
        assert again.code == 0
        assert again.out.startswith(link.partition("#")[0])
        assert again.out.strip() != link
        assert here.says("sessions", "list").out == "none\n"

        sentence, next_step, code = here.says("serve", "--port", "0").error()
        assert sentence == f"Another service uses the data directory {here.data}."
        assert "`antechamber link`" in next_step
        assert code == "already_running"
        assert here.says("doctor", "--json").json[1]["ok"]

        service.send_signal(signal.SIGTERM)
        assert service.wait(timeout=30) == 0
    assert here.says("link").error()[2] == "service_not_running"
