"""Addresses that others give, for a browser to be sent to or for this service to ask."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final
from urllib.parse import parse_qsl, urlsplit

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
MOST: Final = 2048
"""Characters of an address."""
ASKED: Final = frozenset({"session_id", "challenge"})
"""What is asked of an application at its address."""
_LABEL: Final = re.compile(r"(?!xn--)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?|xn--[A-Za-z0-9-]{1,58}[A-Za-z0-9]")
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")


def web_address(url: str) -> str:
    """Return an https URL, or an http URL of this computer; ValueError where it is neither, or can be read two ways."""
    message = "must be an https URL, or an http URL of this computer"
    if any(character.isspace() or not character.isprintable() or character == "\\" for character in url):
        raise ValueError(message)
    try:
        parts = urlsplit(url)
        host, named = parts.hostname, parts.username or parts.password
        _ = parts.port  # raises ValueError on a bad one
    except ValueError:
        raise ValueError(message) from None
    if not host or named or not (parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)):
        raise ValueError(message)
    return url


def server_address(url: str) -> str:
    """Return the URL of a server that is shown secrets: as `web_address`, with a host that everybody reads alike.

    ValueError where it is none.
    """
    parts = urlsplit(web_address(url))
    if "@" in parts.netloc or parts.port == 0 or not _is_host(parts.hostname or ""):
        message = "must have a host that is a name in ASCII letters, digits and hyphens, or an IP address"
        raise ValueError(message)
    return url


def issuer_address(url: str) -> str:
    """Return the URL of an issuer (OpenID Connect Core 1.0, 1.2): a server's, without query or fragment.

    ValueError where it is none.
    """
    if "?" in url or "#" in url:
        message = "must be https://HOST[:PORT][/PATH], without query or fragment"
        raise ValueError(message)
    return server_address(url)


def bind_address(url: str) -> str:
    """Return an address to which a question can be added, and whose host every browser reads alike.

    ValueError where it has a fragment, a question of ours, or another host than a name in ASCII or an IP address; where
    it is too long, or no web address.
    """
    if "#" in url or len(url) > MOST:
        message = f"must have no fragment, and at most {MOST} characters"
        raise ValueError(message)
    if ASKED & {name for name, _ in parse_qsl(urlsplit(web_address(url)).query, keep_blank_values=True)}:
        message = f"must not ask for {' or '.join(sorted(ASKED))} itself"
        raise ValueError(message)
    return server_address(url)


def web_origin(origin: str) -> str:
    """Return an origin as a browser writes it: scheme, host and a port that is not the scheme's own, nothing else.

    ValueError where it is none, or an http one of another computer.
    """
    parts = urlsplit(web_address(origin))
    if origin != f"{parts.scheme}://{parts.netloc}" or not _is_host(parts.hostname or "") or parts.port == 0:
        message = "must be https://HOST[:PORT] without a path or a wildcard; http only on this computer"
        raise ValueError(message)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    own = parts.port in {None, 443 if parts.scheme == "https" else 80}
    return f"{parts.scheme}://{host}" if own else f"{parts.scheme}://{host}:{parts.port}"


def _is_host(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        labels = host.rstrip(".").split(".")
        # a last label of digits makes an IPv4 address of it (https://url.spec.whatwg.org/#ends-in-a-number-checker)
        return len(host) <= 253 and all(map(_LABEL.fullmatch, labels)) and not _NUMBER.fullmatch(labels[-1])
    return True
