"""How the guest drives a CLI: plain, in a terminal, by the Agent Client Protocol. The CLIs are small scripts."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest

from antechamber.guest.cli import MARK, Cli, environment
from antechamber.guest.job import parse
from antechamber.guest.layout import Layout
from antechamber.guest.tasks import Tasks


def cli(tmp_path, program, drive=None, **job):
    todo = parse(
        {
            "kind": "sign_in",
            "argv": [sys.executable, "-c", program],
            "drive": drive or {"how": "plain"},
            "files": {"credential": {"path": "~/.tool/auth.json", "required": []}},
            **job,
        }
    )
    layout = Layout(home=tmp_path, work=tmp_path / "work", anchors=tmp_path / "none")
    return Cli(todo.argv, todo.drive, environment(todo, layout, opener="/x/open-page"), layout)


async def test_a_plain_cli_reads_nothing_and_its_last_twenty_lines_are_kept(tmp_path):
    program = "import sys; assert sys.stdin.read() == ''; [print('line', n) for n in range(50)]; sys.exit(7)"
    ran = cli(tmp_path, program)
    assert await ran.run() == 7
    assert ran.output.lines() == [f"line {number}" for number in range(30, 50)]


async def test_garbage_and_endless_lines_are_kept_short(tmp_path):
    program = "import os; os.write(1, bytes(range(256)) * 100); os.write(1, b'y' * 300000)"
    ran = cli(tmp_path, program)
    assert await ran.run() == 0
    assert all(len(line) <= 2000 for line in ran.output.lines())


async def test_the_end_of_a_cli_is_seen_though_a_child_holds_its_output_open(tmp_path):
    program = "import subprocess; subprocess.Popen(['sleep', '600']); print('gone')"
    ran = cli(tmp_path, program)
    async with asyncio.timeout(30):
        assert await ran.run() == 0
    assert ran.output.lines() == ["gone"]
    await ran.stop(patience=0)


async def test_a_cli_that_is_missing_is_an_error(tmp_path):
    ran = cli(tmp_path, "")
    ran._argv = ["/nowhere/tool"]
    with pytest.raises(OSError, match="nowhere"):
        await ran.run()


async def test_f050_f051_a_cli_in_a_terminal_has_one_and_gets_its_answers(tmp_path):
    program = (
        "import os, sys, termios, tty\n"
        "assert os.isatty(0) and os.isatty(1) and os.getsid(0) == os.getpid()\n"
        "open('/dev/tty').close()\n"
        "tty.setraw(0)\n"
        "os.write(1, b'\\x1b[6n')\n"
        "assert os.read(0, 20) == b'\\x1b[1;1R'\n"
        "os.write(1, b'Store it in plain text? (y/N) ')\n"
        "assert os.read(0, 20) == b'y\\r'\n"
        "os.write(1, b'\\x1b[32mstored\\x1b[0m\\r\\n')\n"
        "sys.exit(4)\n"
    )
    ran = cli(tmp_path, program, {"how": "pty", "answers": [{"expect": "plain text\\?", "send": "y\r"}]})
    async with asyncio.timeout(30):
        assert await ran.run() == 4
    assert ran.output.lines()[-1].endswith("stored")


ACP = (
    "import json, sys\n"
    "print('warming up', flush=True)\n"
    "def say(**m): print(json.dumps({'jsonrpc': '2.0', **m}), flush=True)\n"
    "for line in sys.stdin:\n"
    "    asked = json.loads(line)\n"
    "    if asked.get('method') == 'initialize':\n"
    "        say(id=77, method='fs/read_text_file', params={})\n"
    "        assert json.loads(sys.stdin.readline())['error']['code'] == -32601\n"
    "        say(method='session/update', params={})\n"
    "        say(id=asked['id'], result={'protocolVersion': 1})\n"
    "    elif asked.get('method') == 'authenticate':\n"
    "        assert asked['params'] == {'methodId': 'oauth-personal'}\n"
    "        RESULT\n"
)


async def test_a_cli_that_refuses_by_acp_is_ended_and_what_it_said_is_kept(tmp_path):
    program = ACP.replace("RESULT", "say(id=asked['id'], error={'code': -32000, 'message': 'not eligible'})")
    ran = cli(tmp_path, program, {"how": "acp", "answers": [], "acp_method": "oauth-personal"})
    async with asyncio.timeout(30):
        assert await ran.run() != 0
    assert ran.output.lines() == ["warming up", "authenticate: not eligible"]


async def test_a_cli_that_is_done_by_acp_stays_until_it_is_stopped(tmp_path):
    program = ACP.replace("RESULT", "say(id=asked['id'], result={}); open('done', 'w').close()")
    ran = cli(tmp_path, program, {"how": "acp", "answers": [], "acp_method": "oauth-personal"})
    tasks = Tasks()
    running = tasks.spawn("cli", ran.run())
    async with asyncio.timeout(30):
        while not (tmp_path / "done").exists():
            await asyncio.sleep(0.01)
        assert not running.done()
        await ran.stop(patience=0)
        await running
    await tasks.close()


async def test_a_cli_that_hangs_up_by_acp_has_ended(tmp_path):
    ran = cli(tmp_path, "print('broken'); raise SystemExit(9)", {"how": "acp", "answers": [], "acp_method": "x"})
    assert await ran.run() == 9
    assert ran.output.lines() == ["broken"]


async def test_stopping_ends_what_the_cli_left_behind_in_another_session(tmp_path):
    program = (
        "import subprocess\n"
        "left = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        "open('pid', 'w').write(str(left.pid))\n"
    )
    ran = cli(tmp_path, program)
    assert await ran.run() == 0
    pid = int((tmp_path / "pid").read_text())
    assert b"sleep" in _command(pid)
    await ran.stop(patience=0)
    async with asyncio.timeout(20):
        while b"sleep" in _command(pid):
            await asyncio.sleep(0.01)


def _command(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: PTH123 - one read
            return file.read()
    except FileNotFoundError:
        return b""


def test_the_environment_has_what_a_cli_needs_to_open_a_page_and_nothing_that_stops_it(tmp_path, monkeypatch):
    monkeypatch.setenv("CI", "1")
    monkeypatch.setenv("ANTECHAMBER_INCARNATION", "inc_secret")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    anchors = tmp_path / "ca.pem"
    layout = Layout(home=tmp_path, work=tmp_path / "work", anchors=anchors)
    todo = parse(
        {
            "kind": "sign_in",
            "argv": ["x"],
            "screen": True,
            "env": {"TOOL_HOME": "$HOME/.tool", "TERM": "dumb"},
            "clear_env": ["LANG", "CI"],
            "files": {"credential": {"path": "~/.tool/auth.json"}},
        }
    )
    found = environment(todo, layout, opener="/x/open-page")
    assert found == {
        "HOME": str(tmp_path),
        "PATH": f"{tmp_path}/work/bin:/usr/bin:/bin",
        "BROWSER": "/x/open-page",
        "DISPLAY": ":0",
        "TERM": "dumb",
        "TOOL_HOME": f"{tmp_path}/.tool",
        "ANTECHAMBER_PART": MARK,
    }
    anchors.write_text("")
    assert environment(todo, layout, opener=None)["NODE_EXTRA_CA_CERTS"] == os.fspath(anchors)
