"""A run of the CLI with a stored credential, by the whole agent over the real link; its CLI is a script."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import sys
from contextlib import suppress

import pytest
from tests.unit.guest.test_agent import agent_with, content

from antechamber.errors import Code
from antechamber.guest.job import BadJobError, parse
from antechamber.guest.output import FEWEST_HELD, KEPT, Output, Redactor, secrets_of
from antechamber.guest.protocol import RUN_PIECE, UNSTORED, WHOLE, FileState, ReportKind
from antechamber.link import Refuse

ACCESS, REFRESH = "DUMMY-access-0123456789", "DUMMY-refresh-0123456789"
FILE = json.dumps({"tokens": {"access": ACCESS, "refresh": REFRESH}})
HOME = "import os, pathlib, sys, time\nfile = pathlib.Path.home() / '.tool' / 'auth.json'\n"
RENEW = (
    HOME
    + f"new = file.with_name('new'); new.write_text({FILE!r}.replace('0123456789', '9876543210'))\nnew.rename(file)\n"
)


def job(program, **streams):
    return {
        "kind": "run",
        "argv": [sys.executable, "-c", program],
        "seed": [{"path": "~/.tool/auth.json", "content": FILE, "mode": 384}],
        "files": {"credential": {"path": "~/.tool/auth.json", "required": ["tokens.access"]}},
        "streams": streams,
    }


async def read(host, *, at=0):
    """Return what the CLI wrote on each stream, to its end."""
    view = await host.link.read_run(at)
    said = {1: b"", 2: b""}
    async with asyncio.timeout(30):
        while (piece := await view.next()) is not None:
            said[piece.stream] += piece.output
            await view.taken(piece)
            if piece.ended:
                break
    return said


async def test_output_errors_input_and_exit_code_pass_through(tmp_path):
    program = "import sys; sys.stderr.write('heard '); sys.stdout.write(sys.stdin.read().upper()); sys.exit(7)"
    async with agent_with(tmp_path, job(program, held=True)) as (host, _):
        view = await host.link.read_run()
        await view.type(b"a question", end=True)
        assert await read(host) == {1: b"A QUESTION", 2: b"heard "}
        ended = await host.next_of(ReportKind.RUN_ENDED)
    assert ended.body == {"code": 7, "file": "whole", "redacted": False}
    assert [report.kind for report in host.reports] == [ReportKind.STARTED, ReportKind.RUN_ENDED]


async def test_the_cli_finds_its_credential_in_a_fresh_home_and_starts_in_an_empty_folder(tmp_path):
    program = HOME + "print(file.stat().st_mode & 0o777, os.listdir(), sorted(os.listdir(pathlib.Path.home())))"
    async with agent_with(tmp_path, job(program, held=True)) as (host, _):
        assert (await read(host))[1] == b"384 [] ['.tool', 'project']\n"


async def test_what_the_cli_renews_is_reported_before_its_end_and_then_nothing_is_left(tmp_path):
    async with agent_with(tmp_path, job(RENEW, held=True)) as (host, _):
        await read(host)
        ended = await host.next_of(ReportKind.RUN_ENDED)
        renewed = await host.next_of(ReportKind.CREDENTIAL)
        assert json.loads(content(renewed))["tokens"]["access"] == "DUMMY-access-9876543210"
        assert host.reports.index(renewed) < host.reports.index(ended)
        assert list(host.layout.home.iterdir()) == []


async def test_a_file_that_did_not_change_is_not_reported(tmp_path):
    async with agent_with(tmp_path, job(HOME + "file.write_text(file.read_text())", held=True)) as (host, _):
        await host.next_of(ReportKind.RUN_ENDED)
    assert ReportKind.CREDENTIAL not in {report.kind for report in host.reports}


async def test_the_end_is_not_told_while_a_renewal_is_not_stored(tmp_path):
    async with agent_with(tmp_path, job(RENEW, held=True)) as (host, _):
        host.reply = RuntimeError("the service dies before it has stored anything")
        await host.next_of(ReportKind.CREDENTIAL)
        assert ReportKind.RUN_ENDED not in {report.kind for report in host.reports}
        host.job, host.reply = None, Refuse(Code.WRITE_BACK_REFUSED)
        host.new_link()
        await host.next_of(ReportKind.RUN_ENDED)


async def test_a_run_that_is_ended_from_outside_tells_what_its_cli_wrote_last(tmp_path):
    # its file is renewed when it is asked to end, as by a tool that was just about to
    program = (
        "import signal\n"
        + HOME
        + "def end(*_):\n"
        + "".join(f"    {line}\n" for line in RENEW.splitlines())
        + "    sys.exit(3)\n"
        "signal.signal(signal.SIGTERM, end); print('up', flush=True)\ntime.sleep(600)"
    )
    async with agent_with(tmp_path, job(program, held=True)) as (host, _):
        view = await host.link.read_run()
        assert (await view.next()).output == b"up\n"
        await host.link.finish_run()
        assert (await host.next_of(ReportKind.RUN_ENDED)).body["code"] == 3
        assert "9876543210" in content(await host.next_of(ReportKind.CREDENTIAL))


async def test_half_a_file_is_told_as_such(tmp_path):
    async with agent_with(tmp_path, job(HOME + "file.write_text('{')", held=True)) as (host, _):
        assert (await host.next_of(ReportKind.RUN_ENDED)).body["file"] == FileState.INCOMPLETE.value


async def test_secrets_of_the_file_do_not_pass_also_of_one_that_was_just_renewed(tmp_path):
    program = (
        RENEW
        + "print(file.read_text(), flush=True)\n"
        + f"sys.stdout.write({ACCESS[:12]!r}); sys.stdout.flush(); time.sleep(0.2); print({ACCESS[12:]!r})"
    )
    async with agent_with(tmp_path, job(program, held=True)) as (host, _):
        said = (await read(host))[1].decode()
        assert (await host.next_of(ReportKind.RUN_ENDED)).body["redacted"]
    # the new one is known once it was seen, which a CLI that prints it at once may be quicker than
    assert ACCESS not in said
    assert REFRESH not in said
    assert "[removed]" in said


@pytest.fixture(params=["heeded", "ignored"])
def interrupts(request):
    """Have an interrupt be heeded, or ignored as in what a script starts in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN if request.param == "ignored" else signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupts")
async def test_a_terminal_echoes_resizes_and_takes_ctrl_c(tmp_path):
    program = (
        "import os, sys, time\nprint(os.get_terminal_size(), sys.stdin.isatty(), flush=True)\n"
        "try:\n    print('heard', input(), flush=True); time.sleep(600)\nexcept KeyboardInterrupt:\n    sys.exit(130)"
    )
    async with agent_with(tmp_path, job(program, terminal=True)) as (host, _):
        view = await host.link.read_run()
        await view.resize(100, 30)
        seen = b""
        await view.type(b"hello\r")
        async with asyncio.timeout(30):
            while b"heard hello" not in seen:
                piece = await view.next()
                seen += piece.output
                await view.taken(piece)
        await view.type(b"\x03")
        assert (await host.next_of(ReportKind.RUN_ENDED)).body["code"] == 130
    assert b"True" in seen


async def test_a_held_run_waits_for_its_reader_and_loses_nothing(tmp_path):
    much = 5 * KEPT
    program = f"import sys\nfor n in range({much // 8}): sys.stdout.write('%07d\\n' % n)"
    async with agent_with(tmp_path, job(program, held=True)) as (host, _):
        await host.next_of(ReportKind.STARTED)
        with suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await host.next_of(ReportKind.RUN_ENDED)
                pytest.fail("it did not wait")
        said = (await read(host))[1]
    assert said == b"".join(b"%07d\n" % n for n in range(much // 8))


async def test_another_reader_goes_on_where_the_first_was(tmp_path):
    program = "import sys\nfor n in range(100_000): sys.stdout.write('%07d\\n' % n)"
    async with agent_with(tmp_path, job(program)) as (host, _):
        await host.next_of(ReportKind.RUN_ENDED)
        first = await host.link.read_run()
        piece = await first.next()
        assert piece.at == 0
        rest = await read(host, at=piece.end)
        assert piece.output + rest[1] == b"".join(b"%07d\n" % n for n in range(100_000))
        assert await first.next() is None


async def test_a_signal_reaches_the_cli(tmp_path):
    program = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGINT, lambda *_: sys.exit(9))\nprint('up', flush=True)\ntime.sleep(600)"
    )
    async with agent_with(tmp_path, job(program, held=True)) as (host, _):
        view = await host.link.read_run()
        await view.next()
        await view.signal("INT")
        assert (await host.next_of(ReportKind.RUN_ENDED)).body["code"] == 9


@pytest.mark.usefixtures("interrupts")
async def test_an_interrupt_ends_a_cli_that_has_no_handler_for_it(tmp_path):
    program = "import time\nprint('up', flush=True)\ntime.sleep(600)"
    async with agent_with(tmp_path, job(program)) as (host, _):
        view = await host.link.read_run()
        piece = await view.next()
        assert piece.output == b"up\n"
        await view.taken(piece)
        await view.signal("INT")
        assert (await host.next_of(ReportKind.RUN_ENDED)).body["code"] == -signal.SIGINT


async def test_what_the_cli_left_running_is_ended_with_it(tmp_path):
    program = (
        "import subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
    )
    async with agent_with(tmp_path, job(program, held=True)) as (host, _):
        # its streams are open in what it left: the end does not wait for theirs
        assert (await host.next_of(ReportKind.RUN_ENDED)).body["code"] == 0


@pytest.mark.parametrize("cut", range(1, 23))
def test_a_secret_is_found_however_its_stream_is_cut(cut):
    redactor = Redactor([ACCESS.encode()])
    text = b"the token is " + ACCESS.encode() + b", as you see"
    at = len(b"the token is ") + cut
    shown = redactor.feed(text[:at]) + redactor.feed(text[at:], last=True)
    if cut >= FEWEST_HELD:
        assert shown == b"the token is [removed], as you see"
    assert redactor.found == (cut >= FEWEST_HELD)


def test_only_texts_that_could_be_secret_are_looked_for():
    value = {"a": "short", "b": ["x" * 16, {"c": "y" * 15}], "d": 1, "e": None}
    assert secrets_of(value) == {b"x" * 16}


def test_an_output_that_is_not_held_keeps_the_last_of_it():
    said = []
    output = Output(said.append, held=False, on_room=lambda: None)
    output.wrote(1, b"x" * (KEPT + 5 * RUN_PIECE))
    assert not output.full
    output.take({"type": "run_open", "reader": 1, "at": 0})
    assert 0 < said[0]["at"] <= 6 * RUN_PIECE


def take_all(output, said, *, at=0):
    """Read all that there is from there on; return (where it begins, what it was)."""
    said.clear()
    output.take({"type": "run_open", "reader": 1, "at": at})
    taken, got = 0, b""
    while taken < len(said):
        got += base64.b64decode(said[taken]["output"])
        taken += 1
        output.take({"type": "run_taken", "reader": 1})
    return said[0]["at"], got


def test_who_comes_back_to_a_held_output_gets_again_what_may_have_been_lost_on_its_way():
    said = []
    output = Output(said.append, held=True, on_room=lambda: None)
    output.wrote(1, b"it was sent.")
    assert take_all(output, said) == (0, b"it was sent.")
    assert take_all(output, said, at=7) == (7, b"sent.")


def test_a_held_output_is_full_by_what_its_reader_has_not_and_the_oldest_goes():
    said, room = [], []
    output = Output(said.append, held=True, on_room=lambda: room.append(output.written))
    for _ in range(3):
        before = output.written
        while not output.full:
            output.wrote(1, b"x" * RUN_PIECE)
        assert before + KEPT <= output.written <= before + KEPT + RUN_PIECE
        assert take_all(output, said, at=before) == (before, b"x" * (output.written - before))
        assert not output.full
    assert len(room) == 3
    assert output.written - KEPT <= take_all(output, said)[0] < output.written - KEPT + 2 * RUN_PIECE


def test_what_a_reader_has_had_before_is_marked_and_is_never_in_one_piece_with_what_is_new():
    said = []
    output = Output(said.append, held=False, on_room=lambda: None)
    output.wrote(1, b"asked ")
    take_all(output, said)
    output.wrote(1, b"new")
    # the second piece was sent, and nobody said that they have it
    take_all(output, said)
    output.take({"type": "run_open", "reader": 2, "at": 0})
    said.clear()
    output.wrote(1, b"est")
    output.take({"type": "run_open", "reader": 3, "at": 0})
    for _ in range(2):
        output.take({"type": "run_taken", "reader": 3})
    assert [(one["again"], base64.b64decode(one["output"])) for one in said] == [(True, b"asked new"), (False, b"est")]


def test_who_asks_for_what_is_not_written_yet_gets_what_comes_and_the_end():
    said = []
    output = Output(said.append, held=True, on_room=lambda: None)
    output.wrote(1, b"before")
    output.take({"type": "run_open", "reader": 1, "at": 10**9})
    output.wrote(1, b"after")
    assert (said[0]["at"], base64.b64decode(said[0]["output"])) == (6, b"after")
    output.take({"type": "run_taken", "reader": 1})
    output.ended()
    assert [one["ended"] for one in said] == [False, True]


async def test_input_that_is_given_whole_is_read_to_its_end_without_a_reader(tmp_path):
    program = "import sys; sys.stdout.write(sys.stdin.read().upper())"
    given = base64.b64encode(b"a question " * 20_000).decode()
    async with agent_with(tmp_path, job(program, held=False, input=given)) as (host, _):
        assert (await host.next_of(ReportKind.RUN_ENDED)).body["code"] == 0
        assert await read(host) == {1: b"A QUESTION " * 20_000, 2: b""}


@pytest.mark.parametrize("wrong", [1, "no base64!", []])
def test_input_that_is_no_input_is_no_job(wrong):
    with pytest.raises(BadJobError, match="input"):
        parse(job("pass", input=wrong))


@pytest.mark.parametrize(
    "message",
    [
        {"type": "run_open"},
        {"type": "run_open", "reader": "1", "at": 0},
        {"type": "run_open", "reader": 1, "at": -1},
        {"type": "run_taken", "reader": 2},
    ],
)
def test_what_the_host_says_wrongly_is_ignored(message):
    said = []
    output = Output(said.append, held=True, on_room=lambda: None)
    output.wrote(1, b"x")
    output.take(message)
    assert said == []


async def test_a_renewal_that_the_host_refuses_is_told_at_the_end(tmp_path):
    async with agent_with(tmp_path, job(RENEW, held=True)) as (host, _):
        host.reply = Refuse(Code.CREDENTIAL_MALFORMED)
        assert (await host.next_of(ReportKind.RUN_ENDED)).body["file"] == UNSTORED


async def test_a_companion_that_lay_there_from_the_first_is_reported_with_each_renewal(tmp_path):
    todo = job(RENEW, held=True)
    todo["seed"].append({"path": "~/.tool/settings.json", "content": '{"account": "DUMMY"}', "mode": 384})
    todo["files"]["settings"] = {"path": "~/.tool/settings.json", "required": ["account"]}
    todo["companion_wait_ms"] = 60_000
    async with agent_with(tmp_path, todo) as (host, _):
        renewed = await host.next_of(ReportKind.CREDENTIAL)
        assert renewed.body["files"].keys() == {"credential", "settings"}
        assert (await host.next_of(ReportKind.RUN_ENDED)).body["file"] == WHOLE
