"""A PostgreSQL server for tests: Debian's programs, a folder of its own, a unix socket and nothing else.

It is started by the first test that asks for it, runs as an unprivileged account, keeps nothing safe (no fsync), and
ends with the test run: by its pid, or by the kernel when the run is killed. A unix socket crosses network namespaces.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

LOCALE = "C.UTF-8"
OWNER = "tests"
SERVICE = "service"
"""A role that may use tables and owns none: see `antechamber database roles`."""
PORT = 5432
"""Names the socket; nothing listens on a port."""
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_connections": "200",
    "shared_buffers": "32MB",
    # deadlocks are looked for after so long
    "deadlock_timeout": "100ms",
    "log_min_messages": "warning",
}
# a role of that name must say its password, everybody else is whom they say they are
ACCESS = "local all guarded scram-sha-256\nlocal all all trust\n"


def programs() -> Path | None:
    """The folder with Debian's newest `postgres`, or None."""
    found = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "postgres").is_file()]
    return max(found, key=lambda path: int(path.parent.name), default=None)


def account() -> pwd.struct_passwd:
    """Who runs the server: never root, which PostgreSQL refuses."""
    return pwd.getpwuid(os.getuid()) if os.getuid() else pwd.getpwnam("postgres")


class Server:
    """A running server, and the databases that tests make in it."""

    def __init__(self, bin_folder: Path, **settings: str) -> None:
        self._settings = SETTINGS | settings
        self.folder = Path(tempfile.mkdtemp(prefix="apg-", dir="/tmp"))
        self._bin = bin_folder
        self._who = account()
        self._numbers = count(1)
        if os.getuid() == 0:
            os.chown(self.folder, self._who.pw_uid, self._who.pw_gid)
        (self.folder / "initdb.log").touch()
        self._server: subprocess.Popen[bytes] | None = None
        try:
            self._initialise()
            self.start()
            self.run(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(SERVICE)))
        except BaseException:
            self.close()
            raise

    def _initialise(self) -> None:
        data = self.folder / "data"
        command = [self._bin / "initdb", "-D", data, "-U", OWNER, "-A", "trust", "-E", "UTF8", "--no-sync", "-N"]
        with (self.folder / "initdb.log").open("wb") as log:
            subprocess.run(
                [*self._as_account(), *command, f"--locale={LOCALE}"],
                check=True,
                stdout=log,
                stderr=log,
                cwd="/",
                env={"PATH": "/usr/bin:/bin"},
            )
        (data / "pg_hba.conf").write_text(ACCESS)

    def _as_account(self) -> list[str]:
        # SIGINT is PostgreSQL's fast shutdown; the server must not outlive whoever started it
        dying = ["setpriv", "--pdeathsig", "INT"]
        if os.getuid() == 0:
            dying += [f"--reuid={self._who.pw_uid}", f"--regid={self._who.pw_gid}", "--clear-groups"]
        return dying

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        log = (self.folder / "server.log").open("ab")
        with log:
            self._server = subprocess.Popen(
                [*self._as_account(), self._bin / "postgres", "-D", self.folder / "data", "-k", self.folder, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={"PATH": "/usr/bin:/bin"},
                start_new_session=True,
            )
        ready = [self._bin / "pg_isready", "-q", "-h", self.folder, "-t", "1"]
        while subprocess.run(ready, check=False).returncode != 0:
            if self._server.poll() is not None:
                raise RuntimeError((self.folder / "server.log").read_text())

    def stop(self) -> None:
        """Stop the server, whoever is connected."""
        if self._server is not None and self._server.poll() is None:
            self._server.send_signal(2)
            self._server.wait(30)

    def close(self) -> None:
        """Stop the server and remove what it wrote."""
        self.stop()
        shutil.rmtree(self.folder)

    def url(self, name: str, role: str = OWNER) -> str:
        return f"postgresql://{role}@/{name}?host={self.folder}"

    def run(self, statement: sql.SQL | sql.Composed, name: str = "postgres") -> list[tuple[Any, ...]]:
        """Run a statement outside a transaction."""
        with closing(psycopg.connect(self.url(name), autocommit=True)) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def create(self, template: str = "template0") -> str:
        """Make a database and return its name."""
        name = f"test{next(self._numbers)}"
        self.run(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
        return name

    def drop(self, name: str) -> None:
        """Remove a database, whoever is connected to it."""
        self.run(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
