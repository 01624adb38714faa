"""Addresses that an application gives for a person's browser to be sent to."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
MOST: Final = 2048
"""Characters of an address."""


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


def bind_address(url: str) -> str:
    """Return an address to which a question can be added; ValueError where it has a fragment or is too long."""
    if "#" in url or len(url) > MOST:
        message = f"must have no fragment, and at most {MOST} characters"
        raise ValueError(message)
    return web_address(url)
