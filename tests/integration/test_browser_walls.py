"""What the browser of a real machine does not do for anybody, tried by the keys of its person.

Nothing debugs it: what a page says is what Ctrl+A and Ctrl+C bring to the screen's clipboard, or what the page itself
tells its server. Each thing that must not happen is seen to happen where the policy against it is taken away.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
from functools import partial
from pathlib import Path

import pytest

from antechamber.drivers.namespace import rootfs
from antechamber.egress import BROWSER_BACKGROUND_HOSTS
from antechamber.tasks import Tasks
from antechamber.testing.rfb import CONTROL, ESCAPE, RETURN, SHIFT, Screen, StreamWire
from tests.acceptance import processes
from tests.integration.machine_bench import SIGN_IN, Pages, machine_with, sign_in_job

pytestmark = [pytest.mark.machine, pytest.mark.timeout(180)]

WITHIN_S = 30
COPIED_S = 2
LOOK_S = 0.3
AGAIN_S = 4
"""After which an address that has led nowhere is typed again."""
BLOCKED = "This page is blocked"
SITE = f"http://{SIGN_IN}"
PAGE = b"<body><script>document.body.textContent = 'here is ' + location.pathname</script>"
DEPRECATED = {"AutofillAddressEnabled", "AutofillCreditCardEnabled"}
"""Chromium 156 makes them into entries of AutofillSettings by itself; older ones know only them."""
F12 = 0xFFC9
POLICY_ROW = re.compile(r"^(\w+)\n\n?(.*)\nPlatform\nMachine\nMandatory\n(.+)$", re.MULTILINE)


class Person:
    """Hands at the browser, and what they can read there."""

    def __init__(self, screen, pages):
        self.screen, self.pages = screen, pages
        self._visits = 0

    async def text(self):
        """Return what Ctrl+A and Ctrl+C copy now, nothing where there is nothing to copy."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(COPIED_S):
                return await self.screen.copy_all()
        return ""

    async def type_address(self, address):
        since = self.screen.changes
        await self.screen.chord(CONTROL, ord("l"))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):  # no change where the bar has the focus already
                await self.screen.change(since)
        await self.screen.type(address)
        await self.screen.press(RETURN)

    async def visit(self, path=None):
        """Go to a page of the site and be there; by default one that nobody was at yet."""
        self._visits += 1
        path = path or f"/visit/{self._visits}"
        await self.ask(SITE + path, path)
        return path

    async def ask(self, address, path):
        """Type an address, and again while nobody asks for its page once more."""
        times = self.pages.asked.count(path) + 1
        async with asyncio.timeout(WITHIN_S):
            while self.pages.asked.count(path) < times:
                await self.type_address(address)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(AGAIN_S):  # what was typed before the bar had the focus is lost
                        await self.pages.was_asked(path, times=times)

    async def read(self, address, is_shown, *, before=None):
        """Type an address, and again where it has not led there in a while; return the text that is shown then.

        `before` is done before each look.
        """
        now, typed_at = asyncio.get_running_loop().time, float("-inf")
        async with asyncio.timeout(WITHIN_S):
            while True:
                if now() > typed_at + AGAIN_S:
                    await self.type_address(address)
                    typed_at = now()
                if before is not None:
                    await before()
                if is_shown(text := await self.text()):
                    return text
                if "ERR_" in text:  # a part of it was lost, and the rest was looked for
                    typed_at = float("-inf")

    async def shown(self, address):
        """Type an address and return what is shown then."""
        here = await self.visit()
        async with asyncio.timeout(WITHIN_S):
            while here not in await self.text():
                pass

        def is_another(text):
            return text and "ERR_" not in text and here not in text and address not in text

        return await self.read(address, is_another)

    async def told(self, path):
        """Wait until the page has told that; return all that was told since it was asked for last."""
        async with asyncio.timeout(WITHIN_S):
            await self.pages.was_asked(path, times=1)
        return self.pages.asked


@contextlib.asynccontextmanager
async def at_the_browser(pages):
    job = sign_in_job("browser", screen=True, browser=True)
    async with machine_with(job, pages) as bench, Tasks("person") as tasks:
        async with asyncio.timeout(WITHIN_S):
            await pages.was_asked("/authorize?state=right", times=1)
            stream = await bench.screens.open()
            screen = await Screen.open(StreamWire(stream.reader, stream.writer))
        tasks.spawn("screen", screen.watch())
        yield Person(screen, pages), bench
        await screen.close()


@pytest.fixture
def pages():
    pages = Pages()
    pages.page = PAGE
    return pages


def lift(monkeypatch, **policies):
    """Have machines started with these policies otherwise; None: without it."""
    for name, value in policies.items():
        if value is None:
            monkeypatch.delitem(rootfs.MANAGED_POLICY, name)
        else:
            monkeypatch.setitem(rootfs.MANAGED_POLICY, name, value)


async def test_chromium_knows_and_takes_each_policy_that_is_set(pages, monkeypatch):
    """Read from chrome://policy on a machine's own screen, where that page alone is not blocked."""
    policy = dict(rootfs.MANAGED_POLICY)
    policy["URLBlocklist"] = [entry for entry in policy["URLBlocklist"] if not entry.startswith("chrome:")]
    wrong = {"NobodyKnowsThisPolicy": True, "ShowHomeButton": "of another type"}
    lift(monkeypatch, URLBlocklist=policy["URLBlocklist"], **wrong)
    async with at_the_browser(pages) as (person, _):
        # out of the field that filters them; a key goes no further than to the next button
        out = partial(person.screen.click, person.screen.width // 2, person.screen.height * 2 // 5)
        text = await person.read("chrome://policy", lambda text: "NobodyKnowsThisPolicy" in text, before=out)
    rows = {name: (value, status) for name, value, status in POLICY_ROW.findall(text)}
    assert {rows[name][1] for name in wrong} == {"Error"}, "a policy that is not taken is seen"
    assert {name: rows.get(name, ("", "missing"))[1] for name in policy} == {
        name: "Deprecated" if name in DEPRECATED else "OK" for name in policy
    }
    shown = {
        name: value if isinstance(policy[name], str) else json.loads(value)
        for name, (value, _) in rows.items()
        if name in policy
    }
    assert shown == policy


INTERNAL = (
    "file:///etc/passwd", "file:///home/user/", "chrome://version", "chrome://policy", "chrome://settings/passwords",
    "chrome://flags", "chrome://extensions", "chrome://net-export", "chrome://downloads", "chrome://history",
    "chrome://inspect", "chrome://tracing", "about:version", "devtools://devtools/bundled/inspector.html",
    f"view-source:{SITE}/source",
)  # fmt: skip


async def test_files_internal_pages_and_sources_are_not_shown(pages):
    async with at_the_browser(pages) as (person, _):
        for address in INTERNAL:
            assert BLOCKED in await person.shown(address), address
    assert "/source" not in pages.asked


async def test_without_the_policy_they_are_shown(pages, monkeypatch):
    lift(monkeypatch, URLBlocklist=None)
    async with at_the_browser(pages) as (person, _):
        assert "user:x:1000" in await person.shown("file:///etc/passwd")
        assert "JavaScript" in await person.shown("chrome://version")
        await person.visit()
        await person.ask(f"view-source:{SITE}/source", "/source")


EVENTS = b"""<!doctype html><script>
const tell = what => fetch('/told/' + what, {method: 'POST'})
for (const name of ['resize', 'blur', 'beforeprint']) addEventListener(name, () => tell(name))
document.addEventListener('visibilitychange', () => document.hidden && tell('hidden'))
addEventListener('keydown', event => { if (event.key === 'k') tell('key') })
</script><body>a page with events"""
OPENS = {
    "opening a file": ((CONTROL, ord("o")), "blur"),
    "saving the page": ((CONTROL, ord("s")), "blur"),
    "printing": ((CONTROL, ord("p")), "blur"),
    "developer tools": ((CONTROL, SHIFT, ord("I")), "resize"),
}  # fmt: skip
"""Keys, and what a page tells where something opens by them. That there are no tools is said in a box of its own."""
ALSO = {
    "the system's printing": ((CONTROL, SHIFT, ord("P")), "blur"),
    "developer tools by F12": ((F12,), "resize"),
    "the console": ((CONTROL, SHIFT, ord("J")), "resize"),
    "the inspector": ((CONTROL, SHIFT, ord("C")), "resize"),
    "a private window": ((CONTROL, SHIFT, ord("N")), "blur"),
}  # fmt: skip


async def hands_on(person):
    """Have the page tell that a key came to it."""
    since = len(person.pages.asked)
    async with asyncio.timeout(WITHIN_S):
        while True:
            await person.screen.press(ord("k"))
            await asyncio.sleep(LOOK_S)
            if "/told/key" in person.pages.asked[since:]:
                return
            # whatever asks or says something goes; a page that is not there yet would stop to come, so not at once
            await person.screen.press(ESCAPE)


async def test_no_key_opens_tools_printing_or_files(pages):
    pages.others["/events"] = ("Content-Type: text/html", EVENTS)
    async with at_the_browser(pages) as (person, _):
        for name, (keys, event) in (OPENS | ALSO).items():
            await person.visit("/events")
            await hands_on(person)
            since = len(pages.asked)
            await person.screen.chord(*keys)
            await hands_on(person)
            assert f"/told/{event}" not in pages.asked[since:], name


async def test_without_the_policies_those_keys_open_them(pages, monkeypatch):
    lift(monkeypatch, DeveloperToolsAvailability=1, PrintingEnabled=None, AllowFileSelectionDialogs=None)
    lift(monkeypatch, DownloadRestrictions=None, URLBlocklist=None)
    pages.others["/events"] = ("Content-Type: text/html", EVENTS)
    async with at_the_browser(pages) as (person, _):
        for keys, event in OPENS.values():
            await person.visit("/events")
            await hands_on(person)
            since = len(pages.asked)
            async with asyncio.timeout(WITHIN_S):
                while f"/told/{event}" not in pages.asked[since:]:
                    await person.screen.chord(*keys)
                    await asyncio.sleep(10 * LOOK_S)
                    await person.screen.press(ESCAPE)


LINK = b"""<!doctype html><body><a id=link download="DUMMY-%s" href="%s">it</a><script>
const tell = what => fetch('/told/' + what + '-%s', {method: 'POST'})
if (link.href.endsWith('#blob')) link.href = URL.createObjectURL(new Blob(['DUMMY']))
link.onclick = () => tell('clicked')
link.focus()
</script>"""
LINKS = {"blob": b"#blob", "data": b"data:application/octet-stream,DUMMY", "attachment": b"/file"}


async def downloaded(person):
    """Try to get files out of pages, each in another way."""
    others = person.pages.others
    others["/file"] = ("Content-Disposition: attachment; filename=DUMMY-attachment", b"DUMMY" * 100)
    for name, address in LINKS.items():
        others[f"/{name}"] = ("Content-Type: text/html", LINK % (name.encode(), address, name.encode()))
        # its own doing would be asked about from the second one on
        await person.visit(f"/{name}")
        async with asyncio.timeout(WITHIN_S):
            while f"/told/clicked-{name}" not in person.pages.asked:
                await person.screen.press(RETURN)
                await asyncio.sleep(LOOK_S)
    await person.told("/file")


def browser_of(machine):
    folder = machine.handle["folder"]
    keeper = next(one for one in processes.everything().values() if "/keeper/" in one.line and folder in one.line)
    inside = [one for one in processes.below(keeper.pid) if one.argv[0].endswith("/chromium")]
    return next(one for one in inside if "--type=" not in one.line)


def saved(machine):
    """Return the names, without endings, of files in the machine that a download has made, half ones too."""
    root = Path(f"/proc/{browser_of(machine).pid}/root")
    made = (Path(name) for folder in ("home", "tmp", "run", "var") for name in _files(root / folder))
    return {path.stem for path in made if path.name.startswith("DUMMY") or path.suffix == ".crdownload"}


def _files(folder):
    return (Path(where, name) for where, _, names in os.walk(folder) for name in names)


async def test_nothing_is_downloaded_whoever_asks_for_it(pages):
    async with at_the_browser(pages) as (person, bench):
        await downloaded(person)
        await person.visit()
        assert saved(bench.machine) == set()


async def test_without_the_policy_it_is_downloaded(pages, monkeypatch):
    lift(monkeypatch, DownloadRestrictions=None)
    async with at_the_browser(pages) as (person, bench):
        await downloaded(person)
        async with asyncio.timeout(WITHIN_S):
            # what comes in the clear waits under another name for somebody's word
            while len(saved(bench.machine)) < len(LINKS):
                await asyncio.sleep(0.1)


POPUPS = b"""<!doctype html><body><button id=opens>open</button><script>
fetch('/told/webdriver-' + navigator.webdriver, {method: 'POST'})
opens.onclick = () => open('/popped/clicked', 'two', 'width=300,height=300')
addEventListener('message', event => fetch('/told/' + event.data, {method: 'POST'}))
opens.focus()
open('/popped/alone', 'one', 'width=300,height=300')
</script>"""
POPPED = b"<script>opener.postMessage(location.pathname.slice(1).replace('/', '-'), '*'); close()</script>"
FORM = """<!doctype html><html lang=de><meta charset=utf-8><h1>Bitte melden Sie sich hier mit Ihrem Konto an</h1>
<form action=/submitted><input name=user autocomplete=username value=somebody>
<input type=password name=word autocomplete=current-password style="position:fixed;inset:50% 0 0"
 oninput="fetch('/told/typed-' + word.value, {method: 'POST'})" id=word><button>Weiter</button></form>"""


async def test_a_sign_in_page_has_its_popups_and_nobody_else_is_told_of_the_password(pages):
    pages.others["/popups"] = ("Content-Type: text/html", POPUPS)
    pages.others["/form"] = ("Content-Type: text/html", FORM.encode())
    for name in ("alone", "clicked"):
        pages.others[f"/popped/{name}"] = ("Content-Type: text/html", POPPED)
    async with at_the_browser(pages) as (person, bench):
        await person.visit("/popups")
        await person.told("/told/webdriver-false")
        await person.told("/told/popped-alone")
        async with asyncio.timeout(WITHIN_S):
            while "/told/popped-clicked" not in pages.asked:
                await person.screen.press(RETURN)  # the window that opened by itself has the keys until it has closed
                await asyncio.sleep(LOOK_S)
        await person.visit("/form")
        async with asyncio.timeout(WITHIN_S):
            while "/told/typed-DUMMY-word" not in pages.asked:
                # an address that `visit` typed again loads the form once more, and what was typed into it is lost
                await person.screen.click(person.screen.width // 2, person.screen.height * 3 // 4)
                await person.screen.select_all()
                await person.screen.type("DUMMY-word")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(COPIED_S):
                        await pages.was_asked("/told/typed-DUMMY-word", times=1)
        await person.screen.press(RETURN)
        await person.told("/submitted?user=somebody&word=DUMMY-word")
        await person.visit()
        # whether the password is known elsewhere is asked once the page after it is there
        await person.visit()
        # updates are asked for now and then whatever the policy says, and never let out
        assert {use.name for use in bench.egress.uses()} - set(BROWSER_BACKGROUND_HOSTS) == {SIGN_IN}
