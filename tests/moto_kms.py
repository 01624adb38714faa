"""moto's KMS for tests, a server on loopback: not AWS, and where it is known to differ a test says so."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from pathlib import Path
from typing import Any

import boto3.session

from tests.servers import Program, free_port


class Moto(Program):
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
        super().__init__(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            environment={"PATH": os.environ["PATH"], "HOME": str(folder)},
            log=folder / "log",
            says_when_ready="Running on",
        )

    def create_key(self) -> str:
        """Return the ARN of a new key."""
        return self.ask("create_key")["KeyMetadata"]["Arn"]

    def ask(self, operation: str, **given: Any) -> Any:
        """Ask as its administrator."""
        session = boto3.session.Session("DUMMY", "DUMMY", region_name="eu-central-1")
        client = session.client("kms", endpoint_url=self.url)
        with contextlib.closing(client):
            return getattr(client, operation)(**given)
