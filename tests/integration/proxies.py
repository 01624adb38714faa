"""Debian's nginx and Caddy in front of a service, with the very files of deploy/ and a certificate of the tests' own.

Only the addresses differ: ports that an ordinary user may listen on, and the service's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import ssl
from dataclasses import dataclass
from pathlib import Path

import httpx
import trustme

from tests.servers import free_port

ROOT = Path(__file__).parents[2]
UNPACKED = ROOT / ".venv" / "proxies" / "usr"
DASHBOARD, SIGN_IN = "dashboard.example.com", "sign-in.example.com"
URLS = {"dashboard_url": f"https://{DASHBOARD}", "sign_in_url": f"https://{SIGN_IN}"}
LOOPBACK = "127.0.0.1"
# nginx's usual form, and at the end to whom it passed the request on
LOG_FORMAT = (
    """log_format told '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent '"""
    """ '"$http_referer" "$http_user_agent" "$upstream_addr"';"""
)
CADDY_LOG = "/var/log/caddy/antechamber.log"


@dataclass
class Proxy:
    """A running proxy."""

    port: int
    plain_port: int
    trust: ssl.SSLContext
    log: Path
    """Everything that it wrote down: its access log in the usual form, and its errors."""

    def way(self):
        """Return a transport that takes every https name to this proxy, as DNS would."""
        return Way(self)

    def screen(self, host=SIGN_IN):
        """Return how `websockets` reaches this proxy."""
        return {"host": LOOPBACK, "port": self.port, "ssl": self.trust, "server_hostname": host}


class Way(httpx.AsyncBaseTransport):
    """Takes each name to one place, as DNS would."""

    def __init__(self, proxy):
        self._proxy = proxy
        self._http = httpx.AsyncHTTPTransport(verify=proxy.trust)

    async def handle_async_request(self, request):
        # Host header and cookies are of the name; only where it leads is changed
        port = self._proxy.plain_port if request.url.scheme == "http" else self._proxy.port
        sent = httpx.Request(
            request.method,
            request.url.copy_with(host=LOOPBACK, port=port),
            headers=request.headers,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": request.url.host},
        )
        return await self._http.handle_async_request(sent)

    async def aclose(self):
        await self._http.aclose()


def changed(text, changes):
    """Return a configuration with these changes, each of which must find its place."""
    for found, becomes in changes.items():
        assert found in text, f"{found!r} is not in the configuration"
        text = text.replace(found, becomes)
    return text


def _nginx(folder, service_port, proxy, certificate):
    site = changed(
        (ROOT / "deploy" / "nginx" / "antechamber.conf").read_text(),
        {
            "listen 443 ": f"listen {LOOPBACK}:{proxy.port} ",
            "listen 80;": f"listen {LOOPBACK}:{proxy.plain_port};",
            "127.0.0.1:8700": f"{LOOPBACK}:{service_port}",
            "/etc/ssl/antechamber/fullchain.pem": str(certificate[0]),
            "/etc/ssl/antechamber/privkey.pem": str(certificate[1]),
            # what it would write down is what a test reads
            "access_log off;": f"access_log {proxy.log} told;",
        },
    )
    (folder / "site.conf").write_text(site)
    paths = [f"{name}_temp_path {folder};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")]
    main = ["daemon off;", "master_process off;", f"pid {folder}/pid;", f"error_log {proxy.log} info;", "events {}"]
    main += ["http {", LOG_FORMAT, "access_log off;", *paths, f"include {folder}/site.conf;", "}"]
    (folder / "nginx.conf").write_text("\n".join(main))
    return [UNPACKED / "sbin" / "nginx", "-p", folder, "-e", proxy.log, "-c", folder / "nginx.conf"]


def _caddy(folder, service_port, proxy, certificate):
    names = f"{DASHBOARD}, {SIGN_IN} {{"
    # an access log as docs/how-to/behind-a-proxy.md has it, for those who must keep one
    page = (ROOT / "docs" / "how-to" / "behind-a-proxy.md").read_text()
    log = changed(re.search(r"^\tlog \{\n.*?^\t\}\n", page, re.MULTILINE | re.DOTALL)[0], {CADDY_LOG: str(proxy.log)})
    site = changed(
        (ROOT / "deploy" / "caddy" / "Caddyfile").read_text(),
        {
            names: f"{names}\ntls {certificate[0]} {certificate[1]}\n{log}",
            "127.0.0.1:8700": f"{LOOPBACK}:{service_port}",
        },
    )
    ours = f"{{\nadmin off\nhttp_port {proxy.plain_port}\nhttps_port {proxy.port}\ndefault_bind {LOOPBACK}\n}}\n"
    (folder / "Caddyfile").write_text(ours + site)
    return [UNPACKED / "bin" / "caddy", "run", "--config", folder / "Caddyfile", "--adapter", "caddyfile"]


KINDS = {"nginx": _nginx, "caddy": _caddy}


@contextlib.asynccontextmanager
async def behind(kind, folder, service):
    """Run a proxy in front of a service; everything that the service's clients do then goes through it."""
    authority = trustme.CA()
    issued = authority.issue_cert(DASHBOARD, SIGN_IN)
    certificate = folder / "chain.pem", folder / "key.pem"
    certificate[0].write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(certificate[1])
    authority.cert_pem.write_to_path(folder / "ca.pem")
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    proxy = Proxy(free_port(), free_port(), trust, folder / "log")
    proxy.log.touch()
    command = KINDS[kind](folder, service.server.port, proxy, certificate)
    surroundings = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    said = folder / "said"
    with said.open("wb") as out:
        process = await asyncio.create_subprocess_exec(*command, env=surroundings, cwd=folder, stdout=out, stderr=out)
        try:
            for port in (proxy.port, proxy.plain_port):
                await _answers(port, process, said)
            service.way = proxy.way
            yield proxy
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
    assert not re.search(r"\[(?:emerg|alert|crit)\]", proxy.log.read_text()), proxy.log.read_text()


async def _answers(port, process, said):
    async with asyncio.timeout(20):
        while True:
            assert process.returncode is None, said.read_text()
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(LOOPBACK, port)
                writer.close()
                return
            await asyncio.sleep(0.02)
