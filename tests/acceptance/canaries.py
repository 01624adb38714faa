"""Looks for secrets where none may be, as they are and as they are usually written otherwise."""

from __future__ import annotations

import base64
import json
import urllib.parse
from pathlib import Path

SHORTEST = 16
"""Characters of what is taken for a secret in a credential's file."""


def spellings(secret):
    """Return how a secret may stand somewhere: as it is, escaped, in hexadecimal, in base 64 wherever it begins."""
    raw = secret.encode()
    found = {raw, urllib.parse.quote(secret, safe="").encode(), raw.hex().encode(), json.dumps(secret)[1:-1].encode()}
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + raw)
        # the first and the last letters depend on what stands beside it
        found.add(whole[4 if before else 0 : -4])
        found.add(whole.translate(bytes.maketrans(b"+/", b"-_"))[4 if before else 0 : -4])
    return found


def strings(document, name="file"):
    """Return the long texts in a JSON document, by where in it they stand."""
    match document:
        case dict():
            inner = ((f"{name}.{key}", value) for key, value in document.items())
        case list():
            inner = ((f"{name}[{number}]", value) for number, value in enumerate(document))
        case _:
            return {name: document} if isinstance(document, str) and len(document) >= SHORTEST else {}
    return {where: text for key, value in inner for where, text in strings(value, key).items()}


def files(*roots):
    """Return what every file below these folders holds, by its path; a socket or pipe holds nothing."""
    return {
        str(path): path.read_bytes()
        for root in roots
        for path in sorted(Path(root).rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def processes():
    """Return what every process of this computer was started with, by its number."""
    found = {}
    for process in Path("/proc").iterdir():
        for name in ("cmdline", "environ") if process.name.isdigit() else ():
            try:
                found[f"{process.name} {name}"] = (process / name).read_bytes()
            except OSError:
                continue  # it ended meanwhile, or is another account's
    return found


def where(secrets, held):
    """Return which secrets stand where: pairs of what they are called and where that is."""
    return {
        (called, place)
        for called, secret in secrets.items()
        for spelling in spellings(secret)
        for place, content in held.items()
        if spelling in content
    }
