"""The demo service as a process of its own, in folders of its own, that can be killed and started again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from antechamber.control import Client
from antechamber.drivers import locks
from antechamber.drivers.keepers import KeptFolder
from antechamber.model import Secret
from antechamber.testing.practice import StandInClient
from tests.acceptance import processes
from tests.servers import free_port

ANTECHAMBER = Path(sys.executable).with_name("antechamber")
UID_LOCKS = Path("/run/antechamber-uids") if os.geteuid() == 0 else Path(f"/tmp/antechamber-uids-{os.geteuid()}")
STARTS_S = 60
ENDS_S = 30
LOOK_S = 0.05


async def until(look, seconds, otherwise):
    """Return what `look` returns as soon as that is true of anything; nobody tells a test of a foreign process."""
    try:
        async with asyncio.timeout(seconds):
            while not (found := await look() if asyncio.iscoroutinefunction(look) else look()):
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        raise AssertionError(otherwise) from None
    return found


@dataclass(frozen=True)
class Found:
    """A machine, by what must stay the same of it when the service is started again."""

    id: str
    incarnation: str
    keeper: int
    uid: int | None
    folder: Path

    def left(self):
        """Say what is left of it on the host."""
        left = [f"process {one.pid}: {one.line[:80]}" for one in processes.below(self.keeper)]
        if (keeper := processes.look(self.keeper)) is not None:
            left.append(f"keeper {keeper.pid}")
        if self.uid is not None:
            left += [
                f"process {one.pid} of uid {one.uid}: {one.line[:80]}"
                for one in processes.everything().values()
                if one.uid == self.uid
            ]
            if (UID_LOCKS / str(self.uid)).exists():
                left.append(f"lock of uid {self.uid}")
        if self.folder.exists():
            left.append(f"folder {self.folder}")
        return left


class Service:
    """`antechamber demo` on a fixed port; `start`, `end` and `start` again."""

    def __init__(self, **settings):
        # short, because sockets' paths are; and machines' uids must be able to pass through
        self.folder = Path(tempfile.mkdtemp(prefix="ac-", dir="/tmp"))
        self.folder.chmod(0o711)
        self.data, self.run, self.log = self.folder / "data", self.folder / "run", self.folder / "log"
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.sign_in_base = f"http://localhost:{self.port}"
        self.control = Client(self.data / "control.sock")
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ANTECHAMBER_")},
            "ANTECHAMBER_DATA_DIR": os.fspath(self.data),
            "ANTECHAMBER_RUN_DIR": os.fspath(self.run),
            **{f"ANTECHAMBER_{name.upper()}": str(value) for name, value in settings.items()},
        }
        self._process = None

    @property
    def token(self):
        return Secret((self.data / "operator-token").read_text().strip())

    @property
    def pid(self):
        return self._process.pid

    async def start(self):
        """Start it and wait until it answers."""
        self._spawn()
        await until(self._answers, STARTS_S, "the service does not answer")

    def _spawn(self):
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [ANTECHAMBER, "demo", "--port", str(self.port)],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
            )

    async def _answers(self):
        code = self._process.poll()
        assert code is None, f"the service ended with {code}:\n{self.log.read_text()[-4000:]}"
        return await self.control.running()

    async def end(self, number):
        """Send it a signal and wait for its end; return its exit code."""
        self._process.send_signal(number)
        return await asyncio.to_thread(self._process.wait, ENDS_S)

    async def standin(self):
        found = await StandInClient.find(self.data / "stand-in")
        assert found is not None, "no practice vendor serves here"
        return found

    async def show(self, session_id):
        """Return the operator's view of a session."""
        return await self.control.call("sessions.show", id=session_id)

    async def machine_of(self, session_id):
        """Return the running machine of a session."""
        machine = (await self.show(session_id))["machine"]["id"]
        for path in self.run.iterdir():
            mark = json.loads((path / "mark.json").read_bytes())
            if mark["machine"] == machine:
                keeper = await _keeper(KeptFolder(path))
                return Found(machine, mark["incarnation"], keeper, mark["uid"], path)
        raise AssertionError(f"{machine} has no folder in {self.run}")

    async def machine_gone(self, session_id):
        """Wait until a session's machine has ended; return the operator's view of it."""

        async def look():
            machine = (await self.show(session_id))["machine"]
            return machine if machine["state"] in {"gone", "lost"} else None

        return await until(look, ENDS_S, "the machine does not end")

    def stored(self):
        """Return how many credentials lie in the database, whatever the API says of them."""
        return asyncio.to_thread(self._count)

    def _count(self):
        import sqlite3

        with contextlib.closing(sqlite3.connect(self.data / "antechamber.db")) as database:
            return database.execute("select count(*) from provider_credentials").fetchone()[0]

    async def remove(self):
        """End everything that was started here, and remove it."""
        if self._process is not None and self._process.poll() is None:
            await self.end(signal.SIGTERM)
        for path in self.run.iterdir() if self.run.is_dir() else ():
            folder = KeptFolder(path)
            if locks.held(folder.alive):
                await _ask_keeper(folder, "stop")
                await folder.nothing_left(ENDS_S)
        with contextlib.suppress(FileNotFoundError):
            if (standin := await StandInClient.find(self.data / "stand-in")) is not None:
                await standin.stop()
        shutil.rmtree(self.folder)

    def keep(self, where):
        """Keep what tells of a failure: the service's log and the machines' own."""
        where.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.log, where / "service.log")
        for path in self.run.iterdir() if self.run.is_dir() else ():
            for name in ("machine.log", "keeper.log", "exit.json"):
                with contextlib.suppress(OSError):
                    shutil.copy(path / name, where / f"{path.name}-{name}")


async def _ask_keeper(folder, word):
    reader, writer = await asyncio.open_unix_connection(os.fspath(folder.control))
    try:
        writer.write(json.dumps({"op": word, "secret": folder.secret.read_text()}).encode() + b"\n")
        return json.loads(await reader.readline())
    finally:
        writer.close()


async def _keeper(folder):
    return (await _ask_keeper(folder, "status"))["keeper"]
