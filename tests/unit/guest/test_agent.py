"""The whole agent without a machine: its job comes over the real link, its CLI is a script, it has no screen."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from tests.servers import free_port

from antechamber.errors import Code
from antechamber.guest.agent import Agent
from antechamber.guest.layout import Layout
from antechamber.guest.protocol import ReportKind
from antechamber.link import Ack, GuestLink, Refuse
from antechamber.machine import Stream
from antechamber.model import IdPrefix, new_id
from antechamber.tasks import Tasks

TOKENS = json.dumps({"tokens": {"access": "DUMMY-access"}})
WRITE = (
    "import os, pathlib\n"
    "folder = pathlib.Path.home() / '.tool'\n"
    f"(folder / 'new').write_text({TOKENS!r})\n"
    "(folder / 'new').rename(folder / 'auth.json')\n"
)
STAY = "import time; time.sleep(600)\n"


def job(program, **more):
    return {
        "kind": "sign_in",
        "argv": [sys.executable, "-c", program],
        "seed": [{"path": "~/.tool.json", "content": '{"seeded": true}', "mode": 384}],
        "files": {"credential": {"path": "~/.tool/auth.json", "required": ["tokens.access"]}},
        **more,
    }


class Host:
    """The host's end; it can be exchanged for another, as by a restart of the service."""

    def __init__(self, path, todo, build="b1"):
        self.layout = Layout(
            home=path / "home", work=path / "work", doors=path, dns=("127.0.0.1", 0), forward=((0, 443),)
        )
        self.incarnation, self.build, self.job = new_id(IdPrefix.INCARNATION), build, todo
        self.reports, self.reply, self._changed = [], Ack(), asyncio.Condition()
        self.tasks, self.server, self.broken = Tasks("host"), None, None
        self.link = self.new_link()

    def new_link(self):
        self.link = GuestLink(incarnation=self.incarnation, build=self.build, job=self.job, on_report=self.take)
        return self.link

    async def take(self, report):
        async with self._changed:
            self.reports.append(report)
            self._changed.notify_all()
        if report.kind is not ReportKind.CREDENTIAL:
            return Ack()
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply

    async def listen(self):
        self.server = await asyncio.start_unix_server(self._serve, self.layout.link)

    async def _serve(self, reader, writer):
        try:
            await self.link.serve(Stream(reader, writer))
        except Exception as error:  # noqa: BLE001 - whatever it is, the test looks at it
            self.broken = error

    async def next_of(self, *kinds, count=1):
        def found():
            return [report for report in self.reports if report.kind in kinds]

        async with asyncio.timeout(30), self._changed:
            await self._changed.wait_for(lambda: len(found()) >= count)
        return found()[count - 1]


@asynccontextmanager
async def agent_with(tmp_path, todo, **more):
    host = Host(tmp_path, todo, **more)
    await host.listen()
    agent = Agent(host.layout, build="b1", incarnation=host.incarnation)
    running = host.tasks.spawn("agent", agent.run())
    try:
        yield host, running
    finally:
        agent.stop()
        await running
        host.server.close()
        await host.tasks.close()


def content(report):
    return base64.b64decode(report.body["files"]["credential"]["content"]).decode()


async def test_a_whole_file_is_reported_and_the_clis_exit_code_does_not_matter(tmp_path):
    async with agent_with(tmp_path, job(WRITE + "raise SystemExit(1)")) as (host, _):
        assert content(await host.next_of(ReportKind.CREDENTIAL)) == TOKENS
        await host.link.stop()
    assert ReportKind.CLI_ENDED not in {report.kind for report in host.reports}


async def test_with_the_acknowledgement_the_cli_is_ended_and_its_home_is_wiped(tmp_path):
    async with agent_with(tmp_path, job(WRITE + STAY)) as (host, running):
        await host.next_of(ReportKind.CREDENTIAL)
        await host.link.capture_done()
        async with asyncio.timeout(20):
            while list(host.layout.home.iterdir()):
                await asyncio.sleep(0.01)
        assert not running.done()


async def test_a_report_whose_answer_was_lost_reaches_the_next_service(tmp_path):
    async with agent_with(tmp_path, job(WRITE + STAY)) as (host, _):
        host.reply = RuntimeError("the service dies before it has stored anything")
        first = await host.next_of(ReportKind.CREDENTIAL)
        host.job = None
        host.reply = Ack()
        host.new_link()
        again = await host.next_of(ReportKind.CREDENTIAL, count=2)
        assert (again.id, content(again)) == (first.id, TOKENS)


async def test_a_refused_file_does_not_end_the_job(tmp_path):
    program = WRITE.replace("'new'", "'n1'") + (
        "while not (folder / 'again').exists(): pass\n" + WRITE.replace("DUMMY-access", "DUMMY-other") + STAY
    )
    async with agent_with(tmp_path, job(program)) as (host, _):
        host.reply = Refuse(Code.CREDENTIAL_INCOMPLETE)
        await host.next_of(ReportKind.CREDENTIAL)
        host.reply = Ack()
        (host.layout.home / ".tool/again").touch()
        assert "DUMMY-other" in content(await host.next_of(ReportKind.CREDENTIAL, count=2))


async def test_a_cli_that_ends_without_a_file_is_told_with_its_last_words(tmp_path):
    async with agent_with(tmp_path, job("print('no such account'); raise SystemExit(3)")) as (host, _):
        ended = await host.next_of(ReportKind.CLI_ENDED)
        assert dict(ended.body) == {"attempt": 1, "code": 3, "lines": ["no such account"], "file": "none"}


PORT = (
    "import os, pathlib, socket, subprocess, sys\n"
    "home = pathlib.Path.home()\n"
    "listening = socket.socket()\n"
    "listening.bind(('127.0.0.1', {port}))\n"
    "listening.listen()\n"
    "print(sorted(path.name for path in home.iterdir()), (home / '.tool.json').read_text())\n"
)


async def test_started_again_the_cli_finds_an_empty_home_its_seeds_and_its_port(tmp_path):
    # what the first run leaves behind holds the port, has left its process group and would write a file
    left = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], pass_fds=[listening.fileno()],"
    left += " start_new_session=True)\n"
    leave = left + "(home / 'left.txt').touch()\nraise SystemExit(3)\n"
    async with agent_with(tmp_path, job(PORT.format(port=free_port()) + leave)) as (host, _):
        await host.next_of(ReportKind.CLI_ENDED)
        await host.link.again(2)
        ended = await host.next_of(ReportKind.CLI_ENDED, count=2)
        assert ended.body["attempt"] == 2
        assert ended.body["lines"] == ["""['.tool', '.tool.json'] {"seeded": true}"""]


async def test_asked_for_one_run_however_often_it_runs_once(tmp_path):
    count = "import pathlib\ncounted = pathlib.Path(r'%s')\ncounted.open('a').write('x')\nraise SystemExit(3)\n"
    async with agent_with(tmp_path, job(count % (tmp_path / "runs"))) as (host, _):
        await host.next_of(ReportKind.CLI_ENDED)
        await host.link.again(2)
        await host.next_of(ReportKind.CLI_ENDED, count=2)
        await host.link.again(2)
        await host.link.again(3)
        await host.next_of(ReportKind.CLI_ENDED, count=3)
        assert (tmp_path / "runs").read_text() == "xxx"


async def test_a_file_of_a_later_run_is_captured(tmp_path):
    marked = "import os, pathlib, sys\nif not pathlib.Path(r'%s').exists(): sys.exit(3)\n" % (tmp_path / "now")
    async with agent_with(tmp_path, job(marked + WRITE + STAY)) as (host, _):
        await host.next_of(ReportKind.CLI_ENDED)
        (tmp_path / "now").touch()
        await host.link.again(2)
        assert content(await host.next_of(ReportKind.CREDENTIAL)) == TOKENS


async def test_f057_a_cli_that_asks_for_no_page_in_time_is_told_and_may_still_succeed(tmp_path):
    program = "import time\nwhile not (__import__('pathlib').Path.home() / 'go').exists(): time.sleep(0.01)\n" + WRITE
    async with agent_with(tmp_path, job(program, page_wait_s=0.05)) as (host, _):
        assert (await host.next_of(ReportKind.TROUBLE)).body["what"] == "no_page"
        (host.layout.home / "go").touch()
        assert content(await host.next_of(ReportKind.CREDENTIAL)) == TOKENS


async def test_a_page_is_told_by_its_host_alone(tmp_path):
    program = "import os, subprocess; subprocess.run([os.environ['BROWSER'], 'https://vendor-one.com/x?state=DUMMY'])\n"
    async with agent_with(tmp_path, job(program + STAY)) as (host, _):
        asked = await host.next_of(ReportKind.PAGE_ASKED)
        assert dict(asked.body) == {"host": "vendor-one.com"}


async def test_a_cli_that_cannot_be_started_is_told(tmp_path):
    async with agent_with(tmp_path, {**job(""), "argv": ["/nowhere/tool"]}) as (host, _):
        assert (await host.next_of(ReportKind.TROUBLE)).body["what"] == "cli_not_found"


async def test_a_job_that_is_not_understood_is_told(tmp_path):
    async with agent_with(tmp_path, {"kind": "dance"}) as (host, _):
        assert dict((await host.next_of(ReportKind.TROUBLE)).body) == {"what": "job", "detail": "kind"}


@pytest.mark.parametrize(("program", "kind"), [(STAY, ReportKind.NOTHING_YET), (WRITE + STAY, ReportKind.CREDENTIAL)])
async def test_asked_to_look_again_it_answers_with_the_file_or_with_nothing_yet(tmp_path, program, kind):
    async with agent_with(tmp_path, job(program)) as (host, _):
        if kind is ReportKind.CREDENTIAL:
            host.reply = RuntimeError("not stored")
            await host.next_of(kind)
            host.reply = Ack()
            host.new_link()
        await host.next_of(ReportKind.STARTED)
        answer = await host.link.look_again(timedelta(seconds=20))
        assert answer is not None
        assert answer.kind is kind


async def test_a_host_of_another_build_gets_nothing(tmp_path):
    async with agent_with(tmp_path, job(WRITE), build="b2") as (host, _):
        async with asyncio.timeout(20):
            while host.broken is None:
                await asyncio.sleep(0.01)
        assert host.broken.code is Code.GUEST_VERSION
        assert host.reports == []


async def test_stopped_it_ends_with_success(tmp_path):
    async with agent_with(tmp_path, job(STAY)) as (host, running):
        await host.next_of(ReportKind.STARTED)
        await host.link.stop()
        async with asyncio.timeout(20):
            assert await running == 0


async def test_a_check_is_answered(tmp_path):
    todo = {
        "kind": "check",
        "seed": [{"path": "~/.tool/auth.json", "content": TOKENS, "mode": 384}],
        "check": {"argv": [sys.executable, "-c", "open(__import__('os').environ['HOME'] + '/.tool/auth.json')"]},
    }
    async with agent_with(tmp_path, todo) as (host, _):
        checked = await host.next_of(ReportKind.CHECKED)
        assert dict(checked.body) == {"accepted": True, "code": 0, "lines": []}


ASK = """
import os, pathlib, sys
sys.stdout.write("\\x1b[1mWhich account?\\x1b[0m ")
sys.stdout.flush()
name = input()
print(os.get_terminal_size().columns, name)
input()
"""


async def seen_until(view, text):
    """Take pieces until that text is among what was seen; return all of it and whether it could be typed into."""
    got, writable = b"", False
    async with asyncio.timeout(20):
        while text not in got:
            piece = await view.next()
            if piece.fresh:
                got, writable = b"", piece.writable
            got += piece.output
            await view.taken()
    return got, writable


async def test_a_question_at_the_terminal_is_told_seen_and_answered_by_the_person(tmp_path):
    asking = job(ASK + WRITE + STAY, drive={"how": "pty", "answers": []}, page_wait_s=60)
    async with agent_with(tmp_path, asking) as (host, _):
        await host.next_of(ReportKind.TERMINAL_ASKS)
        view = await host.link.watch_terminal()
        await view.resize(91, 30)
        seen, writable = await seen_until(view, b"account?")
        assert writable
        assert b"\x1b[1m" in seen
        await view.type(b"ada\r")
        await seen_until(view, b"91 ada")
        await view.type(b"\r")
        assert content(await host.next_of(ReportKind.CREDENTIAL)) == TOKENS
    assert ReportKind.TROUBLE not in {report.kind for report in host.reports}


async def test_a_tool_without_a_terminal_is_shown_to_read_only(tmp_path):
    async with agent_with(tmp_path, job("print('look here', flush=True)\n" + STAY)) as (host, _):
        await host.next_of(ReportKind.STARTED)
        view = await host.link.watch_terminal()
        assert await seen_until(view, b"look here") == (b"look here\n", False)
        await host.link.leave_terminal(view)


async def test_after_the_capture_nothing_more_is_shown_or_typed(tmp_path):
    showing = job(WRITE + "print('whole', flush=True)\n" + STAY, drive={"how": "pty", "answers": []})
    async with agent_with(tmp_path, showing) as (host, _):
        await host.next_of(ReportKind.CREDENTIAL)
        await host.link.capture_done()
        async with asyncio.timeout(20):
            while list(host.layout.home.iterdir()):
                await asyncio.sleep(0.01)
        view = await host.link.watch_terminal()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await view.next()
