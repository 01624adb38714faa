"""Where things lie: made with the right modes, refused with the wrong owner, whole or not there."""

from __future__ import annotations

import asyncio
import fcntl
import os
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from antechamber.errors import Code, OperatorError
from antechamber.model import IdPrefix, is_id
from antechamber.places import DataLock, Places, clear, node_id, place, prepare, token_in
from antechamber.settings import Settings

AT_ONCE = timedelta(0)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def places(tmp_path):
    return Places(tmp_path / "a" / "data", tmp_path / "run", tmp_path / "shared")


@pytest.fixture
def user(monkeypatch):
    """Be an ordinary account, as far as names of folders go."""
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    for name in ("XDG_DATA_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)


def test_what_a_kill_left_of_a_key_or_token_that_was_being_made_is_removed_and_nothing_else(tmp_path):
    left = [f".{name}.0123456789abcdef" for name in ("key", "node", "operator-token", "metrics-token")]
    stay = ["key", "node", ".key.backup", ".keys.0123456789abcdef", "antechamber.db", ".0123456789abcdef"]
    for name in (*left, *stay):
        (tmp_path / name).touch()
    clear(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*stay}


def test_root_has_the_systems_folders(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    places = place(Settings(world="demo"))

    assert (places.data, places.run) == (Path("/var/lib/antechamber/demo"), Path("/run/antechamber"))
    assert places.database.parent == places.key.parent == places.token.parent == places.control.parent == places.data


@pytest.mark.usefixtures("user")
def test_a_user_has_folders_of_their_own(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert place(Settings()).data == tmp_path / ".local/share/antechamber/serve"
    assert place(Settings()).run == Path("/tmp/antechamber-1234")

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert place(Settings(run_dir=Path("/r"))).data == tmp_path / "xdg/antechamber/serve"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "gone"))
    assert place(Settings()).run == Path("/tmp/antechamber-1234")


@pytest.mark.usefixtures("user")
def test_what_machines_read_lies_where_other_accounts_can_go(monkeypatch, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    monkeypatch.setenv("HOME", str(closed))

    assert place(Settings(run_dir=Path("/r"))).shared == Path("/var/tmp/antechamber-1234")


def test_settings_win_over_every_default():
    settings = Settings(data_dir=Path("/d"), run_dir=Path("/r"), shared_dir=Path("/s"))

    assert place(settings) == Places(Path("/d"), Path("/r"), Path("/s"))


def test_a_run_folder_that_leaves_no_room_for_sockets_is_refused_with_the_length_that_works():
    with pytest.raises(OperatorError) as caught:
        place(Settings(run_dir=Path("/" + "r" * 70)))

    longest = int(caught.value.next.split()[-4])
    assert place(Settings(run_dir=Path("/" + "r" * (longest - 1))))
    with pytest.raises(OperatorError):
        place(Settings(run_dir=Path("/" + "r" * longest)))


def test_folders_are_made_with_their_modes_whatever_the_umask(places):
    before = os.umask(0o077)
    try:
        prepare(places)
        prepare(places)
    finally:
        os.umask(before)

    assert mode(places.data) == 0o700
    assert mode(places.run) == (0o711 if os.geteuid() == 0 else 0o700)
    assert mode(places.shared) == 0o755
    assert mode(places.data.parent) == 0o755


def test_a_folder_that_is_too_open_is_closed(places):
    places.data.mkdir(parents=True)
    places.data.chmod(0o777)

    prepare(places)

    assert mode(places.data) == 0o700


def test_a_link_or_a_file_in_a_folders_place_is_refused(places, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    places.run.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OperatorError, match="is not a folder"):
        prepare(places)

    places.run.unlink()
    places.run.write_text("")
    with pytest.raises(OperatorError, match="is not a folder"):
        prepare(places)


@as_root
def test_a_folder_of_another_account_is_refused_with_both_uids(places):
    places.data.mkdir(parents=True)
    os.chown(places.data, 12_345, 12_345)

    with pytest.raises(OperatorError, match="belongs to uid 12345, and this runs as uid 0") as caught:
        prepare(places)
    assert caught.value.code is Code.WRONG_OWNER


async def test_a_data_directory_is_for_one_at_a_time(tmp_path):
    lock = await DataLock.take(tmp_path, within=AT_ONCE)
    with pytest.raises(OperatorError) as caught:
        await DataLock.take(tmp_path, within=AT_ONCE)
    assert caught.value.code is Code.ALREADY_RUNNING

    lock.release()
    (await DataLock.take(tmp_path, within=AT_ONCE)).release()


async def test_a_lock_that_is_held_shortly_is_waited_for(tmp_path):
    lock = await DataLock.take(tmp_path, within=AT_ONCE)
    waiting = asyncio.get_running_loop().create_task(DataLock.take(tmp_path, within=timedelta(seconds=30)))
    await asyncio.sleep(0)
    lock.release()

    (await waiting).release()


async def test_a_wait_for_the_lock_that_is_given_up_holds_nothing(tmp_path):
    lock = await DataLock.take(tmp_path, within=AT_ONCE)
    waiting = asyncio.get_running_loop().create_task(DataLock.take(tmp_path, within=timedelta(seconds=30)))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    lock.release()

    with (tmp_path / "lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@as_root
async def test_a_lock_that_cannot_be_opened_is_an_operators_error(tmp_path):
    (tmp_path / "lock").symlink_to("/etc/passwd")
    os.chown(tmp_path / "lock", 12_345, 12_345, follow_symlinks=False)

    with pytest.raises(OperatorError, match="belongs to uid 12345"):
        await DataLock.take(tmp_path, within=AT_ONCE)


def test_a_token_is_made_once_for_its_owner_alone(tmp_path):
    token = token_in(tmp_path / "token")

    assert len(token.reveal()) >= 43
    assert mode(tmp_path / "token") == 0o600
    assert token_in(tmp_path / "token") == token
    assert [path.name for path in tmp_path.iterdir()] == ["token"]


@pytest.mark.parametrize("text", ["", "\n", "short", "two words that are together long enough to be one"])
def test_a_file_that_holds_no_token_is_refused_and_kept(tmp_path, text):
    path = tmp_path / "token"
    path.write_text(text)
    path.chmod(0o600)

    with pytest.raises(OperatorError, match="does not hold a token"):
        token_in(path)
    assert path.read_text() == text


def test_a_token_that_others_can_read_is_refused(tmp_path):
    token_in(tmp_path / "token")
    (tmp_path / "token").chmod(0o640)

    with pytest.raises(OperatorError) as caught:
        token_in(tmp_path / "token")
    assert caught.value.code is Code.KEY_EXPOSED


def test_a_token_is_not_read_through_a_link_or_from_a_fifo(tmp_path):
    token_in(tmp_path / "token")
    (tmp_path / "link").symlink_to(tmp_path / "token")
    with pytest.raises(OperatorError, match="cannot be used"):
        token_in(tmp_path / "link")

    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(OperatorError, match="does not hold a token"):
        token_in(tmp_path / "fifo")


@as_root
def test_a_token_of_another_account_is_refused_with_both_uids(tmp_path):
    token_in(tmp_path / "token")
    os.chown(tmp_path / "token", 12_345, 12_345)

    with pytest.raises(OperatorError, match="belongs to uid 12345, and this runs as uid 0"):
        token_in(tmp_path / "token")


def test_a_node_keeps_its_id_and_two_data_directories_are_two_nodes(tmp_path):
    first = node_id(tmp_path / "node")
    assert is_id(first, IdPrefix.NODE)
    assert node_id(tmp_path / "node") == first
    assert mode(tmp_path / "node") == 0o600
    assert node_id(tmp_path / "other") != first


@pytest.mark.parametrize("text", ["", "nod_", "ins_00000000000000000000\n", "nod_0000000000000000000/\n", "\xff"])
def test_a_file_that_holds_no_nodes_id_is_refused_and_kept(tmp_path, text):
    path = tmp_path / "node"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(OperatorError) as refused:
        node_id(path)
    assert refused.value.code is Code.MISCONFIGURED
    assert path.read_text(encoding="latin-1") == text
