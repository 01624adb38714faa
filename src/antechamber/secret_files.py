"""Secrets that an operator keeps in files of their own, such as those that a platform mounts."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from antechamber.model import Secret

if TYPE_CHECKING:
    from pathlib import Path

_LARGEST: Final = 16 * 1024
_SECRET: Final = re.compile(rb"[\x21-\x7e]+")


def secret_in(path: Path) -> Secret:
    """Return the secret that a file holds, without what surrounds it.

    OSError where it cannot be read; ValueError where it holds none, or more than one word.
    """
    # not waiting for the writer of a pipe
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        raw = file.read(_LARGEST).strip()
    if not _SECRET.fullmatch(raw):
        message = "it holds no secret"
        raise ValueError(message)
    return Secret(raw.decode("ascii"))
