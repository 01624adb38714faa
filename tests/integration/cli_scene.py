"""`antechamber` as a real process, with folders of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from antechamber import operations
from antechamber.control import Server
from antechamber.keys import Keys
from antechamber.lifecycle import SessionFact
from antechamber.machine_logs import MachineLogs
from antechamber.model import IdPrefix, new_id
from antechamber.places import DataLock
from antechamber.providers import CapturedFile, Providers
from antechamber.settings import Settings
from antechamber.signin import SignIn, StartRequest
from antechamber.store import Store, file_url
from antechamber.vault import Vault
from tests.providers.samples import CODEX

ANTECHAMBER = Path(sys.executable).with_name("antechamber")
WITHIN_S = 60


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)

    def error(self):
        """Return (sentence, next step, code) of a command that failed as a command should."""
        assert self.code == 1, f"{self.code}: {self.out}{self.err}"
        assert "Traceback" not in self.out + self.err, self.err
        said = [line for line in self.err.splitlines() if not line.startswith("{")]  # log lines are JSON
        found = re.fullmatch(r"  (.+)  \((\w+)\)", said[1])
        assert found is not None, self.err
        return said[0], found[1], found[2]


class Place:
    """The folders of one installation, and the commands that are run with them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data, self.run_dir = root / "data", root / "run"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ANTECHAMBER_")},
            "ANTECHAMBER_DATA_DIR": str(self.data),
            "ANTECHAMBER_RUN_DIR": str(self.run_dir),
        }

    def command(self, *words):
        return [str(ANTECHAMBER), *words]

    def says(self, *words, typed="", **environment):
        """Run one of our commands to its end."""
        return self.run(self.command(*words), typed=typed, **environment)

    def run(self, command, *, typed="", **environment):
        """Run a command line to its end."""
        done = subprocess.run(
            command,
            env=self.environment | environment,
            input=typed,
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
            cwd="/",
        )
        return Said(done.returncode, done.stdout, done.stderr)

    async def says_meanwhile(self, *words, **options):
        """Run a command while this process goes on, which is the service."""
        return await asyncio.to_thread(self.says, *words, **options)

    @contextlib.contextmanager
    def serving(self, *words, **environment):
        """Run a service until the block ends; yields the process and the lines of its announcement."""
        command = self.command(*words)
        with (
            (self.root / "log").open("a+") as log,
            subprocess.Popen(
                command, env=self.environment | environment, text=True, stdout=subprocess.PIPE, stderr=log, cwd="/"
            ) as service,
        ):
            try:
                announced = []
                for line in service.stdout:
                    announced.append(line)
                    if "Ready in" in line:
                        break
                assert "Ready in" in "".join(announced), (self.root / "log").read_text()
                yield service, "".join(announced)
            finally:
                service.terminate()
                service.communicate(timeout=WITHIN_S)

    @contextlib.asynccontextmanager
    async def opened(self, world="serve", url=None):
        """Open the installation in this process, as a service does."""
        self.data.mkdir(mode=0o700, exist_ok=True)
        lock = await DataLock.take(self.data, within=timedelta(0))
        store = await Store.open(url or file_url(self.data / "antechamber.db"), world=world)
        try:
            known = await store.key_id()
            vault = Vault.open(self.data / "key", known_key_id=known, has_rows=await store.has_sealed_rows())
            if known is None:
                await store.set_key_id(vault.key_id)
            yield Installation(store, vault, world)
        finally:
            await store.close()
            lock.release()


class Installation:
    """An opened installation, in which a sign-in can be made to happen."""

    def __init__(self, store: Store, vault: Vault, world: str) -> None:
        self.store = store
        self.vault = vault
        self.providers = Providers.load()
        self.signin = SignIn(
            store=store,
            vault=vault,
            providers=self.providers,
            settings=Settings(world=world),
            driver="scripted",
            require=lambda spec: None,
        )

    async def start(self, user_id="ada"):
        request = StartRequest(user_id=user_id, provider="codex", purpose="nightly [bold]builds[/]")
        return (await self.signin.start(request, idempotency_key=None, caller="test")).session.id

    async def complete(self, user_id="ada"):
        """Let somebody sign in; return the session's and the credential's id."""
        session_id = await self.start(user_id)
        at = datetime.now(UTC)
        for fact in (SessionFact.MACHINE_BOOTING, SessionFact.MACHINE_READY):
            await self.store.sessions.apply(session_id, fact, at=at, expires_at=at + timedelta(minutes=10))
        session = await self.signin.session(session_id)
        file = CapturedFile(json.dumps(CODEX).encode(), time.time_ns())
        await self.signin.capture(session_id, session.machine_id, new_id(IdPrefix.REPORT), {"credential": file})
        return session_id, (await self.signin.session(session_id)).captured_credential_id

    @contextlib.asynccontextmanager
    async def answering(self, data):
        """Answer at the control socket, as a running service does."""
        offered = operations.of(self.signin, self.providers, lambda: {"running": True})
        offered |= operations.of_owners(self.signin.owners, carry_out=False)
        logs = MachineLogs(data / "machine-logs", kept=timedelta(days=1), most=2**20)
        offered |= operations.of_applications(self.signin.applications)
        offered |= operations.of_keys(Keys(self.store, self.vault, self.signin.clock))
        offered |= operations.of_logs(self.signin, logs, "nod_00000000000000000000")
        server = Server(data / "control.sock", offered | operations.of_nodes(self.store))
        await server.start()
        try:
            yield
        finally:
            await server.close()


@contextlib.contextmanager
def place():
    # short, because sockets' paths are; and machines' uids must be able to pass through
    with tempfile.TemporaryDirectory(prefix="cl-", dir="/tmp") as made:
        Path(made).chmod(0o711)
        yield Place(Path(made))
