"""docs/how-to/backup.md: its commands, run as they stand there, bring everything back; what is unfit is refused."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from antechamber.model import Owner
from antechamber.store import Store
from antechamber.vault import Vault
from tests.integration.cli_scene import ANTECHAMBER, place
from tests.opening import BY, opened

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "backup.md").read_text()
BACKUP, RESTORE, DRILL, DUMP, UNDUMP = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def installed():
    with place() as made:
        for name in ("backup", "vault"):
            (made.root / name).mkdir(mode=0o700)
        yield made


def run(installed, script, url=""):
    variables = f"data={installed.data} backup={installed.root}/backup vault={installed.root}/vault url='{url}'\n"
    path = f"{ANTECHAMBER.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-eu", "-c", variables + script],
        check=False,
        cwd="/",
        env=installed.environment | {"PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done


def backed_up(installed):
    return ("--database", f"{installed.root}/backup/antechamber.db", "--key", f"{installed.root}/vault/key")


def lose(installed):
    for path in installed.data.glob("antechamber.db*"):
        path.unlink()
    (installed.data / "key").unlink()


async def test_what_was_backed_up_while_it_was_in_use_is_whole_again_after_everything_was_lost(installed):
    async with installed.opened() as installation:
        _, credential_id = await installation.complete("ada")
        # the service holds the database open, and the newest rows are in its WAL alone
        assert "on one file system" in run(installed, BACKUP).stdout
        await installation.complete("bob")
    for path in (installed.root / "backup" / "antechamber.db", installed.root / "vault" / "key"):
        assert path.stat().st_mode & 0o777 == 0o600
        assert [one.name for one in path.parent.iterdir()] == [path.name]
    lose(installed)
    run(installed, RESTORE)
    listed = installed.says(*DRILL.strip().removeprefix("antechamber ").split(), "--json")
    assert [one["user_id"] for one in listed.json] == ["ada"], "bob signed in after the backup"
    async with installed.opened() as installation:
        assert b"DUMMY" in await opened(installation.signin, Owner("ada"), "codex")
        assert (await installation.signin.credential(credential_id)).version == 1


async def test_a_deleted_credential_lives_on_in_the_backup_from_before(installed):
    async with installed.opened() as installation:
        _, credential_id = await installation.complete("ada")
        run(installed, BACKUP)
        await installation.signin.delete_credential(credential_id, by=BY)
    lose(installed)
    run(installed, RESTORE)
    async with installed.opened() as installation:
        assert b"DUMMY" in await opened(installation.signin, Owner("ada"), "codex")


@pytest.mark.parametrize(
    ("database", "key", "says"),
    [
        ("backup/antechamber.db", "backup/key", "one place"),
        ("backup/antechamber.db", "backup/within/key", "one place"),
        ("linked/antechamber.db", "backup/key", "one place"),
        ("data/copy.db", "vault/key", "within the data directory"),
        ("backup/antechamber.db", "data/copy-of-key", "within the data directory"),
        ("nowhere/antechamber.db", "vault/key", "There is no folder"),
    ],
)
async def test_one_place_for_both_is_refused_and_nothing_is_written(installed, database, key, says):
    (installed.root / "backup" / "within").mkdir()
    (installed.root / "linked").symlink_to(installed.root / "backup")
    async with installed.opened() as installation:
        await installation.complete("ada")
    before = sorted(installed.root.rglob("*"))
    said = installed.says("backup", "--database", f"{installed.root}/{database}", "--key", f"{installed.root}/{key}")
    assert says in said.error()[0]
    assert sorted(installed.root.rglob("*")) == before


async def test_another_key_is_never_written_over(installed):
    async with installed.opened() as installation:
        await installation.complete("ada")
    Vault.open(installed.root / "vault" / "key", known_key_id=None, has_rows=False)
    theirs = (installed.root / "vault" / "key").read_bytes()
    assert installed.says("backup", *backed_up(installed)).error()[2] == "key_mismatch"
    assert (installed.root / "vault" / "key").read_bytes() == theirs


async def test_what_does_not_fit_is_refused_and_what_is_there_stays_as_it_is(installed):
    async with installed.opened() as installation:
        await installation.complete("ada")
        run(installed, BACKUP)
        assert installed.says("restore", *backed_up(installed), "--replace").error()[2] == "already_running"
    database, key = installed.root / "backup" / "antechamber.db", installed.root / "vault" / "key"
    mine = (installed.data / "key").read_bytes()
    assert "already" in installed.says("restore", *backed_up(installed)).error()[0]
    assert installed.says("restore", *backed_up(installed), "--world", "demo").error()[2] == "wrong_world"
    key.unlink()
    Vault.open(key, known_key_id=None, has_rows=False)
    assert installed.says("restore", *backed_up(installed), "--replace").error()[2] == "key_mismatch"
    shutil.copy(installed.data / "key", key)
    whole = database.read_bytes()
    database.write_bytes(whole[: len(whole) // 2])
    assert installed.says("restore", *backed_up(installed), "--replace").error()[2] == "store_unavailable"
    assert (installed.data / "key").read_bytes() == mine
    database.write_bytes(whole)
    assert installed.says("restore", *backed_up(installed), "--replace").code == 0
    assert len(installed.says("credentials", "list", "--json").json) == 1


async def test_a_dump_of_postgresql_and_the_key_bring_everything_back(installed, postgres):
    first, second = postgres.create(), postgres.create()
    installed.environment["ANTECHAMBER_DATABASE_URL"] = postgres.url(first)
    try:
        async with installed.opened(url=postgres.url(first)) as installation:
            _, credential_id = await installation.complete("ada")
            run(installed, DUMP, postgres.url(first))
            refused = installed.says("backup", *backed_up(installed))
            assert "pg_dump" in refused.error()[1]
            assert installed.says("backup", "--key", f"{installed.root}/vault/key").code == 0
        (installed.data / "key").unlink()
        run(installed, UNDUMP + 'install -m 600 "$vault/key" "$data/key"\n', postgres.url(second))
        async with installed.opened(url=postgres.url(second)) as installation:
            assert b"DUMMY" in await opened(installation.signin, Owner("ada"), "codex")
            assert (await installation.signin.credential(credential_id)).version == 1
            assert (await Store.revisions(postgres.url(second))).pending == ()
    finally:
        for name in (first, second):
            postgres.drop(name)
