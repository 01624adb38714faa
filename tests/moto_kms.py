"""moto's KMS for tests, a server on loopback: not AWS, and where it is known to differ a test says so."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import boto3.session

from tests.bao import free_port

STARTS_S = 60


class Moto:
    """One server; `close` ends it."""

    def __init__(self, folder: Path) -> None:
        """Start it, with its log in that folder."""
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        self.environment = {
            "AWS_ACCESS_KEY_ID": "DUMMY",
            "AWS_SECRET_ACCESS_KEY": f"DUMMY-{secrets.token_hex(8)}",
            "AWS_ENDPOINT_URL_KMS": self.url,
            # nothing of this computer's own, and no packet to a cloud's metadata
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        log = folder / "log"
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, env={"PATH": os.environ["PATH"], "HOME": str(folder)}
            )
        until = time.monotonic() + STARTS_S
        while "Running on" not in log.read_text():
            assert self.process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.05)

    def create_key(self) -> str:
        """Return the ARN of a new key."""
        return self.ask("create_key")["KeyMetadata"]["Arn"]

    def ask(self, operation: str, **given: Any) -> Any:
        """Ask as its administrator."""
        session = boto3.session.Session("DUMMY", "DUMMY", region_name="eu-central-1")
        client = session.client("kms", endpoint_url=self.url)
        with contextlib.closing(client):
            return getattr(client, operation)(**given)

    @contextlib.contextmanager
    def hanging(self):
        """Have it take connections and say nothing."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
