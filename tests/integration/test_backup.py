"""docs/how-to/backup.md: its commands, run as they stand there, bring everything back, and a wrong key is refused."""

import re
import subprocess
from pathlib import Path

import pytest

from antechamber.errors import Code, OperatorError
from antechamber.model import Owner
from antechamber.vault import Vault
from tests.integration.cli_scene import place

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "backup.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def installed():
    with place() as made:
        for name in ("backup", "vault"):
            (made.root / name).mkdir(mode=0o700)
        yield made


def run(installed, script):
    variables = f"data={installed.data} backup={installed.root}/backup vault={installed.root}/vault\n"
    subprocess.run(["bash", "-eu", "-c", variables + script], check=True, cwd="/")


async def test_what_was_backed_up_while_it_was_in_use_is_whole_again_after_everything_was_lost(installed):
    database, key, restore, drill = BLOCKS
    async with installed.opened() as installation:
        _, credential_id = await installation.complete("ada")
        # the service holds the database open, and the newest rows may be in its WAL alone
        run(installed, database)
        run(installed, key)
        await installation.complete("bob")
    assert (installed.root / "backup" / "antechamber.db").stat().st_mode & 0o777 == 0o600
    for name in ("antechamber.db", "key"):
        (installed.data / name).unlink()

    run(installed, restore)
    listed = installed.says(*drill.strip().removeprefix("antechamber ").split(), "--json")
    assert [one["user_id"] for one in listed.json] == ["ada"], "bob signed in after the backup"
    async with installed.opened() as installation:
        assert b"DUMMY" in await installation.signin.unseal(Owner("ada"), "codex")
        assert (await installation.signin.credential(credential_id)).version == 1


async def test_a_database_that_is_restored_without_its_key_is_refused_and_stays_as_it_is(installed):
    database, key, restore, _ = BLOCKS
    async with installed.opened() as installation:
        await installation.complete()
        run(installed, database)
        run(installed, key)
    (installed.root / "vault" / "key").unlink()
    Vault.open(installed.root / "vault" / "key", known_key_id=None, has_rows=False)
    run(installed, restore)
    with pytest.raises(OperatorError) as caught:
        async with installed.opened():
            pass
    assert caught.value.code is Code.KEY_MISMATCH
    (installed.data / "key").unlink()
    with pytest.raises(OperatorError) as caught:
        async with installed.opened():
            pass
    assert caught.value.code is Code.KEY_MISSING
    assert not (installed.data / "key").exists()
