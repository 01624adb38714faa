"""Offline checks of a stored credential."""

from __future__ import annotations

import json
import sys

import pytest

from antechamber.guest import files
from antechamber.guest.check import check
from antechamber.guest.job import parse
from antechamber.guest.layout import Layout

GEMINI = {
    "access_token": "DUMMY-access",
    "refresh_token": "DUMMY-refresh",
    "scope": "email",
    "token_type": "Bearer",
    "id_token": "a.b.c",
    "expiry_date": 1_800_000_000_000,
}


async def checked(tmp_path, how, seed=None):
    job = parse(
        {
            "kind": "check",
            "argv": [],
            "seed": [{"path": "~/.tool/auth.json", "content": json.dumps(seed or {}), "mode": 384}],
            "files": {"credential": {"path": "~/.tool/auth.json", "required": ["access_token"]}},
            "check": how,
        }
    )
    layout = Layout(home=tmp_path)
    files.plant(layout, job.seeds)
    return await check(job, layout, {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"})


def says(text, code=0):
    return [sys.executable, "-c", f"print({text!r}); raise SystemExit({code})"]


async def test_the_clis_own_code_decides(tmp_path):
    assert (await checked(tmp_path / "a", {"argv": says("Logged in", 0)})).accepted
    refused = await checked(tmp_path / "b", {"argv": says("Not logged in", 1)})
    assert (refused.accepted, refused.code, refused.lines) == (False, 1, ["Not logged in"])


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ('{"loggedIn": true, "email": "x"}', True),
        ('a notice\n{"loggedIn": true}\n', True),
        ('{"loggedIn": false}', False),
        ('{"loggedIn": 1}', False),
        ('{"loggedIn": "true"}', False),
        ("{}", False),
        ("loggedIn: true", False),
    ],
)
async def test_the_clis_own_json_decides(tmp_path, text, accepted):
    how = {"argv": says(text), "accept_code": 0, "accept_json": {"loggedIn": True}}
    assert (await checked(tmp_path, how)).accepted is accepted


async def test_the_cli_finds_the_credential_in_its_home(tmp_path):
    program = (
        "import json, pathlib; assert json.loads((pathlib.Path.home() / '.tool/auth.json').read_text()) == {'a': 1}"
    )
    assert (await checked(tmp_path, {"argv": [sys.executable, "-c", program]}, {"a": 1})).accepted
    assert (tmp_path / ".tool/auth.json").stat().st_mode & 0o777 == 0o600


async def test_our_parser_takes_what_gemini_writes(tmp_path):
    verdict = await checked(tmp_path, {"parse": "gemini"}, GEMINI)
    assert (verdict.accepted, verdict.code, verdict.lines) == (True, 0, [])


@pytest.mark.parametrize(
    "wrong",
    [
        {"access_token": ""},
        {"access_token": 1},
        {"refresh_token": None},
        {"expiry_date": 1_800_000_000},
        {"expiry_date": "soon"},
        {"expiry_date": True},
        {"id_token": "x"},
    ],
)
async def test_our_parser_refuses_what_gemini_would_not_write(tmp_path, wrong):
    verdict = await checked(tmp_path, {"parse": "gemini"}, {**GEMINI, **wrong})
    assert not verdict.accepted
    assert "DUMMY" not in str(verdict.lines)


async def test_a_parser_that_does_not_exist_accepts_nothing(tmp_path):
    assert not (await checked(tmp_path, {"parse": "other"}, GEMINI)).accepted
