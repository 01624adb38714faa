"""The namespace driver passes the contract, as root with a uid for each machine, and as an ordinary user."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

from antechamber.drivers import locks
from antechamber.drivers.namespace import NamespaceDriver
from antechamber.drivers.namespace.uids import UidLocks
from antechamber.model import IdPrefix, new_id
from antechamber.settings import Settings
from antechamber.testing.drivers import DriverContract

pytestmark = pytest.mark.machine


class NamespaceHost:
    """A run directory of its own under /tmp, because a socket's path is short and pytest's folders are not."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="ac-"))
        self.folder.chmod(0o755)
        self.installation, self.node = new_id(IdPrefix.INSTALLATION), new_id(IdPrefix.NODE)

    def driver(self, *, unclaimed_s=900.0):
        return NamespaceDriver(
            run_dir=self.folder / "run",
            settings=Settings(unclaimed_s=unclaimed_s),
            installation=self.installation,
            node=self.node,
        )

    def left(self, handle):
        left = [f"process {pid}" for pid in self.processes(handle)]
        left += [f"folder {path}" for path in (self.folder / "run").iterdir() if handle["incarnation"] in path.name]
        if handle["uid"] is not None and locks.held(UidLocks().path(handle["uid"])):
            left.append(f"lock of uid {handle['uid']}")
        return left

    def processes(self, handle):
        mark = handle["incarnation"].encode()
        found = []
        for path in Path("/proc").iterdir():
            if path.name.isdigit() and int(path.name) != os.getpid():
                try:
                    if mark in (path / "cmdline").read_bytes() or mark in (path / "environ").read_bytes():
                        found.append(int(path.name))
                except OSError:
                    continue
        return found

    def keeper(self, handle):
        for pid in self.processes(handle):
            if b"keeper/__main__.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
        message = "the machine has no keeper"
        raise AssertionError(message)

    def kill_keeper(self, handle):
        os.kill(self.keeper(handle), signal.SIGKILL)

    def readable(self, name):
        folder = self.folder / name
        folder.mkdir()
        folder.chmod(0o755)
        return folder

    def remove(self):
        shutil.rmtree(self.folder)


class TestNamespaceDriver(DriverContract):
    @pytest.fixture
    async def host(self):
        host = NamespaceHost()
        yield host
        host.remove()
