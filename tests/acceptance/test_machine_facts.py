"""One whole sign-in, looked at from the host: how the machine is closed in, what it asked for, what is left of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from antechamber import app
from antechamber.model import Owner
from antechamber.places import place
from antechamber.providers import Providers
from antechamber.settings import Settings
from antechamber.signin import SignIn
from tests.acceptance import processes
from tests.acceptance.conftest import Scene
from tests.acceptance.service import until
from tests.opening import opened

pytestmark = [pytest.mark.machine, pytest.mark.timeout(200)]

PROVIDER = "codex"
CALLBACK_PORTS = {1455, 1457}
DNS_PORT = 53
FORWARDED = {80, 443}
CREDENTIAL = re.compile(rb"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*|DUMMY-[A-Za-z0-9_-]{16,}")
"""What the stand-in's tokens look like: web tokens, and marked ones."""
LISTENING = "0A"
LARGEST = 64 * 2**20


@dataclass
class Facts:
    """What was seen."""

    service_uid: int = 0
    machine_uid: int | None = None
    keeper: int = 0
    running: list = field(default_factory=list)
    interfaces: list = field(default_factory=list)
    listening: set = field(default_factory=set)
    doors_mount: str = ""
    doors_mode: int = 0
    doors_owner: int = -1
    command_lines: str = ""
    environments: str = ""
    secrets: list = field(default_factory=list)
    """The service's own: its operator's token and the machine's secret."""
    tokens: list = field(default_factory=list)
    """What was captured."""
    beacons: list = field(default_factory=list)
    destinations: list = field(default_factory=list)
    odd: object = None
    status: str = ""
    left: list = field(default_factory=list)
    found_secrets: list = field(default_factory=list)
    run_folders: list = field(default_factory=list)


def interfaces(pid):
    lines = Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]
    return sorted(line.partition(":")[0].strip() for line in lines)


def listening(pid):
    """Return the ports at which the process's network namespace listens by TCP."""
    found = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            if state == LISTENING:
                found.add(int(local.rpartition(":")[2], 16))
    return found


def mount_of(pid, place):
    for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
        if line.split()[4] == place:
            return line.split()[5]
    return ""


def renderers(facts):
    # a forked Chromium process writes its command line as one string
    return [one for one in facts.running if "--type=renderer" in one.line]


def browsers(facts):
    return [one for one in facts.running if one.argv[0].endswith("/chromium") and "--type=" not in one.line]


def files_below(*folders):
    for folder in folders:
        for root, _, names in os.walk(folder):
            for name in names:
                path = Path(root, name)
                with contextlib.suppress(OSError):
                    if stat.S_ISREG(path.lstat().st_mode):
                        yield path


def look_inside(facts, service, machine):
    facts.running = processes.below(machine.keeper)
    facts.keeper, facts.machine_uid, facts.service_uid = machine.keeper, machine.uid, processes.look(service.pid).uid
    inside = browsers(facts)[0].pid
    facts.interfaces = interfaces(inside)
    facts.listening = listening(inside)
    facts.doors_mount = mount_of(inside, "/run/doors")
    doors = (machine.folder / "doors").stat()
    facts.doors_mode, facts.doors_owner = stat.S_IMODE(doors.st_mode), doors.st_uid
    # the service, its stand-in vendor and the keeper too: all that anybody can list
    everybody = [service.pid, machine.keeper, *(one.pid for one in facts.running)]
    facts.command_lines = "\n".join(one.line for one in processes.everything().values())
    for pid in everybody:
        if processes.look(pid) is not None:
            facts.environments += processes.environment(pid)
    facts.secrets += [service.token.reveal(), (machine.folder / "secret").read_text()]


async def whole_sign_in():
    facts = Facts()
    scene = Scene(grace_completed_s=0)
    failed = True
    since = time.time()
    try:
        service = scene.service
        await service.start()
        person = await scene.person(PROVIDER)
        await person.to_the_code()
        machine = await service.machine_of(person.session_id)
        await asyncio.to_thread(look_inside, facts, service, machine)
        await person.from_the_code()
        facts.status = await person.ended()
        facts.beacons = person.beacons
        facts.destinations = list(await person.browser.destinations(person.session_id))
        facts.odd = await (await service.standin()).odd()
        await service.machine_gone(person.session_id)
        try:
            await until(lambda: not machine.left(), 20, "something is left")
        except AssertionError:
            facts.left = machine.left()
        facts.run_folders = list(service.run.iterdir())
        await service.end(signal.SIGTERM)
        facts.tokens = await stored_secrets(service, person.user_id)
        facts.found_secrets = await asyncio.to_thread(leaked, service, facts, since)
        if machine.uid is not None:
            facts.left += await asyncio.to_thread(strangers, machine.uid, since)
        failed = False
    finally:
        await scene.close(failed=failed, name="machine-facts")
    return facts


async def stored_secrets(service, user_id):
    """Open the vault as the service would, which must have ended, and return the tokens of the stored credential."""
    settings = Settings(world="demo", data_dir=service.data, run_dir=service.run)
    async with app.open_store(settings, place(settings)) as (store, vault):
        specs = Providers.load()
        signin = SignIn(
            store=store, vault=vault, providers=specs, settings=settings, driver="none", require=lambda _: None
        )
        bundle = await opened(signin, Owner(user_id), PROVIDER)
    found = CREDENTIAL.findall(bundle)
    assert len(found) >= 3, "a credential has an access, a refresh and an identity token"
    return found


def leaked(service, facts, since):
    """Return the files in which a token, or a secret of the service, lies in plain text."""
    secrets = [*facts.tokens, *(one.encode() for one in facts.secrets)]
    found = []
    for path in files_below(service.folder, Path("/tmp"), Path("/run"), Path("/var/tmp")):
        # others use these folders too, and remove their files while we look
        with contextlib.suppress(OSError):
            status = path.stat()
            if status.st_mtime < since or status.st_size > LARGEST or path == service.data / "operator-token":
                continue
            if any(secret in path.read_bytes() for secret in secrets):
                found.append(str(path))
    return found


def strangers(uid, since):
    """Return the files that the machine's uid left in folders that all may write to."""
    found = []
    for path in files_below(Path("/tmp"), Path("/var/tmp"), Path("/dev/shm")):
        with contextlib.suppress(OSError):
            if path.stat().st_uid == uid and path.stat().st_mtime >= since:
                found.append(str(path))
    return found


@pytest.fixture(scope="module")
def facts():
    return asyncio.run(whole_sign_in())


def test_the_sign_in_that_was_looked_at_completes(facts):
    assert facts.status == "completed"


def test_every_renderer_of_the_browser_is_confined_by_seccomp_in_a_pid_namespace_of_its_own(facts):
    (browser,) = browsers(facts)
    assert renderers(facts)
    for renderer in renderers(facts):
        assert renderer.seccomp == 2
        assert renderer.depth > browser.depth
    assert not any("--no-sandbox" in one.line for one in facts.running)


def test_the_machine_has_no_network_interface_but_its_own_loopback(facts):
    assert facts.interfaces == ["lo"]


def test_f047_nothing_listens_in_the_machine_but_names_forwarder_and_the_tools_callback(facts):
    # each name has an address of its own below 127.0.0.0/8, so the forwarder listens on all
    assert facts.listening <= CALLBACK_PORTS | {DNS_PORT} | FORWARDED
    assert facts.listening & CALLBACK_PORTS, "the tool waits for its callback"


def test_the_machines_host_uid_is_neither_roots_nor_the_services(facts):
    if facts.machine_uid is None:
        pytest.skip("this account cannot start programs under other uids")
    assert facts.machine_uid not in {0, facts.service_uid}
    assert {one.uid for one in facts.running} == {facts.machine_uid}


def test_the_doors_cannot_be_changed_from_within(facts):
    assert "ro" in facts.doors_mount.split(",")
    assert facts.doors_owner == facts.service_uid
    assert not facts.doors_mode & 0o022


def test_the_page_does_not_see_an_automated_browser(facts):
    assert {"email", "code", "consent"} <= {beacon.page for beacon in facts.beacons}
    assert not any(beacon.webdriver for beacon in facts.beacons)
    assert not any("--remote-debugging" in one.line for one in facts.running)


def test_the_machine_asked_for_no_name_but_its_providers(facts):
    spec = Providers.load().get(PROVIDER)
    known = {*spec.sign_in_hosts, *spec.background_hosts}
    carried = {use["name"] for use in facts.destinations if use["bytes_in"]}
    assert carried
    assert carried <= known
    assert facts.odd.tls_names == ()
    assert facts.odd.requests == ()


def test_no_command_line_and_no_environment_holds_a_secret(facts):
    for text in (facts.command_lines, facts.environments):
        assert not CREDENTIAL.search(text.encode())
        assert not any(secret in text for secret in [*facts.secrets, *(token.decode() for token in facts.tokens)])


def test_f075_nothing_is_left_of_the_machine(facts):
    assert facts.left == []
    assert facts.run_folders == []


def test_no_secret_lies_in_plain_text_in_any_file(facts):
    assert facts.found_secrets == []


def test_the_services_own_files_are_closed_to_everybody_else():
    # the umask of whoever starts the service does not matter
    before = os.umask(0)
    try:
        asyncio.run(modes())
    finally:
        os.umask(before)


async def modes():
    scene = Scene()
    try:
        await scene.service.start()
        assert stat.S_IMODE(scene.service.data.stat().st_mode) == 0o700
        open_to_others = [
            path for path in scene.service.data.iterdir() if path.lstat().st_mode & 0o077 and not path.is_dir()
        ]
        assert open_to_others == []
    finally:
        await scene.close(failed=False, name="modes")
