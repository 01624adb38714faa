"""The parts of the namespace driver that need no machine."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from antechamber.drivers.doors import UnixDoors
from antechamber.drivers.keepers import KeptFolder
from antechamber.drivers.namespace import NamespaceDriver, bwrap, rootfs, uids
from antechamber.errors import Code, MachineError, OperatorError
from antechamber.machine import Door, MachineSpec, Mount
from antechamber.model import IdPrefix, new_id
from antechamber.settings import Settings

INCARNATION = "inc_00000000000000000000"


@pytest.fixture
def folder(tmp_path):
    return KeptFolder(tmp_path / INCARNATION)


@pytest.mark.parametrize(
    "target",
    ["/", "/etc/passwd", "/usr", "/run/doors", "/proc/1", "/dev/shm", "/home/user", "/opt/../etc", "opt/x", "/opt/x/"],
)
def test_nothing_is_mounted_over_the_machines_own(folder, target):
    spec = MachineSpec("mac", INCARNATION, mounts=(Mount(Path("/srv"), target),))
    with pytest.raises(MachineError) as caught:
        bwrap.options(spec, folder)
    assert caught.value.code is Code.MACHINE_DID_NOT_START


def test_every_mount_of_the_host_is_read_only(folder):
    spec = MachineSpec("mac", INCARNATION, mounts=(Mount(Path("/srv/cli"), "/opt/cli"),))
    argv = bwrap.options(spec, folder)
    assert not {"--bind", "--bind-try", "--dev-bind", "--dev-bind-try"} & set(argv)
    at = argv.index("/srv/cli")
    assert argv[at - 1 : at + 2] == ["--ro-bind", "/srv/cli", "/opt/cli"]


def test_a_machine_need_not_read_every_font_to_know_which_there_are(folder):
    cache = "/var/cache/fontconfig"
    argv = bwrap.options(MachineSpec("mac", INCARNATION), folder)
    # the fonts themselves come with /usr, so that the host's list of them holds in a machine too
    assert Path(cache).is_dir() == (cache in argv)
    if cache in argv:
        assert argv[argv.index(cache) - 1 : argv.index(cache) + 2] == ["--ro-bind", cache, cache]
        assert argv.index("/var") < argv.index(cache)


def test_the_network_is_the_keepers_and_nested_user_namespaces_stay_possible(folder):
    argv = bwrap.options(MachineSpec("mac", INCARNATION), folder)
    assert not {"--unshare-net", "--unshare-all", "--share-net", "--disable-userns"} & set(argv)
    assert {"--die-with-parent", "--new-session", "--clearenv", "--unshare-user", "--unshare-pid"} <= set(argv)


def test_f092_the_specs_environment_is_the_last_word_but_for_nothing_else(folder):
    spec = replace(MachineSpec("mac", INCARNATION), environment={"LANG": "de_DE.UTF-8", "EXTRA": "1"})
    argv = bwrap.options(spec, folder)
    assert "--clearenv" in argv, "a proxy that the host uses is no machine's"
    names = [argv[at + 1] for at, word in enumerate(argv) if word == "--setenv"]
    assert sorted(names) == ["EXTRA", "HOME", "LANG", "PATH"]
    assert argv[argv.index("LANG") + 1] == "de_DE.UTF-8"


def test_the_command_line_that_shows_inside_names_no_path_of_the_host():
    spec = MachineSpec("mac", INCARNATION, program=("/usr/bin/true",), mounts=(Mount(Path("/srv/cli"), "/opt/cli"),))
    argv = bwrap.command(spec)
    assert {word for word in argv if word.startswith("/")} == {"/usr/bin/bwrap", "/bin/sh", "/usr/bin/true"}
    assert INCARNATION in argv, "an operator finds the processes of a machine by it"


def test_the_policy_lets_a_person_sign_in_and_nobody_debug():
    policy = rootfs.managed_policy(())
    assert policy["DefaultPopupsSetting"] == 1, "sign-in pages use popups"
    assert (policy["RemoteDebuggingAllowed"], policy["DeveloperToolsAvailability"]) == (False, 2)
    hiding = {"EncryptedClientHelloEnabled": False, "DnsOverHttpsMode": "off", "QuicAllowed": False}
    assert policy.items() >= hiding.items(), "the way out sees which name is meant"
    assert "CACertificates" not in policy
    assert not any("localhost" in str(value) or "http" in str(value) for value in policy.values())
    assert json.loads(json.dumps(policy)) == policy


def test_every_certificate_of_an_anchor_reaches_the_policy():
    one = "-----BEGIN CERTIFICATE-----\nQUJD\nREVG\n-----END CERTIFICATE-----\n"
    assert rootfs.managed_policy((one + one.replace("QUJD", "R0hJ"), one))["CACertificates"] == [
        "QUJDREVG", "R0hJREVG", "QUJDREVG",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("table", "mapped"),
    [
        ("0 0 4294967295\n", True),
        ("0 0 1\n", False),
        ("0 1000 1\n1 100000 65536\n", False),
        ("0 0 200003\n", True),
        ("0 0 200002\n", False),
        ("", False),
    ],
)
def test_a_pool_is_used_only_where_every_uid_of_it_exists(tmp_path, table, mapped):
    file = tmp_path / "uid_map"
    file.write_text(table)
    assert uids._mapped(range(200_001, 200_003), file) is mapped


async def test_a_path_too_long_for_a_socket_is_the_operators_matter(tmp_path):
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    with pytest.raises(OperatorError) as caught:
        UnixDoors(deep, [Door.LINK], give=None)
    assert "shorter" in caught.value.next


def test_f112_a_malformed_incarnation_never_becomes_a_path(tmp_path):
    driver = NamespaceDriver(run_dir=tmp_path, settings=Settings(), installation="ins_test", node="nod_test")
    for incarnation in ("../../etc", "inc_../../../../../etc", "", "mac_00000000000000000000"):
        with pytest.raises(ValueError, match="not an incarnation"):
            driver.plan("mac", incarnation, host_uid=None)


async def test_a_handle_that_is_not_this_drivers_is_not_followed(tmp_path):
    driver = NamespaceDriver(run_dir=tmp_path, settings=Settings(), installation="ins_test", node="nod_test")
    handle = {**driver.plan("mac", INCARNATION, host_uid=None), "folder": "/etc"}
    with pytest.raises(MachineError):
        await driver.reap(handle)


def marked(run, driver, incarnation, *, name=None, **changes):
    """Leave a machine's folder, as that driver does."""
    folder = run / (name or incarnation)
    folder.mkdir()
    (folder / "mark.json").write_text(json.dumps({**driver.plan("mac", incarnation, host_uid=None), **changes}))
    return folder


async def test_services_of_one_installation_that_share_a_run_folder_find_only_what_is_theirs(tmp_path):
    one, other, stranger = (
        NamespaceDriver(run_dir=tmp_path, settings=Settings(), installation=installation, node=node)
        for installation, node in (("ins_a", "nod_a"), ("ins_a", "nod_b"), ("ins_b", "nod_a"))
    )
    incarnations = [new_id(IdPrefix.INCARNATION) for _ in range(3)]
    drivers = (one, other, stranger)
    for driver, incarnation in zip(drivers, incarnations, strict=True):
        marked(tmp_path, driver, incarnation)
    half_made = marked(tmp_path, other, new_id(IdPrefix.INCARNATION))
    half_made = half_made.rename(half_made.with_name("." + half_made.name))
    for driver, incarnation in zip((one, stranger), (incarnations[0], incarnations[2]), strict=True):
        assert [handle["incarnation"] for handle in await driver.found()] == [incarnation]
    assert half_made.exists()
    assert [handle["incarnation"] for handle in await other.found()] == [incarnations[1]]
    # what a crash of its own left half-made is cleared away
    assert not half_made.exists()


async def test_a_machine_of_before_there_were_nodes_is_found_by_its_installation(tmp_path):
    driver = NamespaceDriver(run_dir=tmp_path, settings=Settings(), installation="ins_a", node="nod_a")
    folder = marked(tmp_path, driver, INCARNATION)
    mark = json.loads((folder / "mark.json").read_text())
    del mark["node"]
    (folder / "mark.json").write_text(json.dumps(mark))
    assert list(await driver.found()) == [mark]
