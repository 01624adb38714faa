"""What the doctor says of where memory could be left: swap and core dumps."""

from __future__ import annotations

import contextlib
import json

import pytest
import typer
from tests.hostile_issuer import HostileIssuer

from antechamber import cli, doctor
from antechamber.isolation import Finding
from antechamber.settings import Settings

HEAD = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"


@pytest.fixture
def root(tmp_path):
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    (tmp_path / "dev/mapper").mkdir(parents=True)
    return tmp_path


def swaps(root, *areas):
    (root / "proc/swaps").write_text(HEAD + "".join(f"{area} partition 1048572 0 -2\n" for area in areas))


def device(root, name, uuid):
    folder = root / "sys/class/block" / name / "dm"
    folder.mkdir(parents=True)
    (folder / "uuid").write_text(uuid)
    (root / "dev" / name).touch()
    return f"/dev/{name}"


def test_no_swap_and_swap_in_memory_keep_nothing(root):
    swaps(root)
    assert doctor._swap(root).ok
    swaps(root, "/dev/zram0")
    assert doctor._swap(root).ok


def test_swap_that_is_not_encrypted_is_named_with_its_remedy(root):
    encrypted = device(root, "dm-0", "CRYPT-PLAIN-cryptswap\n")
    plain = device(root, "dm-1", "LVM-abc\n")
    swaps(root, encrypted)
    assert doctor._swap(root).ok
    swaps(root, encrypted, plain, "/swapfile", "/a\\040swap")
    said = doctor._swap(root)
    assert (said.ok, said.fatal) == (False, False)
    assert said.message.startswith("/dev/dm-1, /swapfile, /a swap is not encrypted")
    assert "crypttab" in said.remedy


def test_a_name_for_an_encrypted_one_is_followed(root):
    device(root, "dm-0", "CRYPT-PLAIN-cryptswap\n")
    (root / "dev/mapper/cryptswap").symlink_to("../dm-0")
    swaps(root, "/dev/mapper/cryptswap")
    assert doctor._swap(root).ok


@pytest.mark.parametrize(
    ("pattern", "limit", "ok"),
    [
        ("core", 0, True),
        ("core", 1, True),
        ("core", 4096, False),
        ("/var/crash/%e", -1, False),
        ("|/usr/lib/systemd/systemd-coredump %P", 0, False),
        ("|/usr/lib/systemd/systemd-coredump %P", 1, True),
    ],
)
def test_whether_a_crash_leaves_memory_behind(root, pattern, limit, ok):
    (root / "proc/sys/kernel/core_pattern").write_text(f"{pattern}\n")
    said = doctor._dumps(root, limit)
    assert (said.ok, said.fatal, bool(said.remedy)) == (ok, said.ok, not ok)


def test_where_it_cannot_be_told_that_is_said(tmp_path):
    for check in (doctor._swap(tmp_path), doctor._dumps(tmp_path, 0)):
        assert check.ok
        assert "cannot be told" in check.message


@pytest.mark.parametrize("refused", [True, False])
def test_an_attempt_that_was_not_refused_is_an_exit_code_and_is_named(monkeypatch, capsys, refused):
    findings = [
        Finding("outside", "the network", "Find a route.", "it is not there", refused=True, saw="there is no route"),
        Finding("keys", "the kernel", "Reach the keys.", "it is refused", refused=refused, saw="[bold]it[/] went"),
    ]

    async def isolation(settings):
        return "namespace", findings

    def printed(*, as_json):
        with contextlib.nullcontext() if refused else pytest.raises(typer.Exit) as ended:
            cli.doctor(isolation=True, as_json=as_json)
        assert refused or ended.value.exit_code == 1
        return capsys.readouterr().out

    monkeypatch.setattr(doctor, "isolation", isolation)
    told = json.loads(printed(as_json=True))
    assert [(one["name"], one["refused"]) for one in told] == [("outside", True), ("keys", refused)]
    lines = printed(as_json=False).splitlines()
    assert lines[0].startswith("refused the network: Find a route.")
    assert lines[1].startswith("refused" if refused else "NOT REFUSED")
    assert "[bold]it[/] went" in lines[1]


def test_it_does_not_go_with_an_installation():
    with pytest.raises(typer.BadParameter):
        cli.doctor(isolation=True, install_missing=True)


async def test_the_issuer_of_operators_is_looked_at_where_there_is_one():
    assert await doctor._issuer(Settings()) == []
    with HostileIssuer() as issuer:
        settings = Settings(**issuer.settings, oidc_subjects="ann", port=8700)
        (found,) = await doctor._issuer(settings)
        assert found.ok
        assert "http://127.0.0.1:8700/login/callback is to be registered" in found.message
        issuer.discovery["issuer"] = "https://another.example"
        (found,) = await doctor._issuer(settings)
        assert (found.ok, found.fatal) == (False, False)
        assert "names another issuer" in found.message
        assert f"{issuer.url}/.well-known/openid-configuration" in found.remedy
    (found,) = await doctor._issuer(settings)
    assert (found.ok, found.fatal) == (False, False)
    assert "cannot be reached" in found.message


async def test_an_issuers_authorities_that_cannot_be_read_are_a_fault_of_the_settings(tmp_path):
    (tmp_path / "authorities").write_text("DUMMY")
    whole = {"oidc_issuer": "https://issuer.example", "oidc_client_id": "antechamber", "oidc_client_secret": "DUMMY"}
    settings = Settings(**whole, oidc_subjects="ann", oidc_ca_file=tmp_path / "authorities")
    (found,) = await doctor._issuer(settings)
    assert (found.ok, found.fatal) == (False, True)
    assert "ANTECHAMBER_OIDC_CA_FILE" in found.remedy


async def test_a_client_secret_that_is_not_there_is_said(tmp_path):
    with HostileIssuer() as issuer:
        settings = {**issuer.settings, "oidc_client_secret": None, "oidc_client_secret_file": tmp_path / "secret"}
        (found,) = await doctor._issuer(Settings(**settings, oidc_subjects="ann"))
        assert not found.ok
        assert str(tmp_path / "secret") in found.message
