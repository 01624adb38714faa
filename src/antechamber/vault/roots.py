"""Which roots the settings name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from antechamber.vault.environment import Environment
from antechamber.vault.key_file import KeyFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from antechamber.settings import Settings
    from antechamber.vault.root import Root


def roots_of(settings: Settings, key_path: Path) -> list[Root]:
    """Return the roots of these settings in their order, none of them looked at; the key file is at that path."""
    known: dict[str, Callable[[], Root]] = {
        "file": lambda: KeyFile(key_path),
        "environment": lambda: Environment(settings.keys),
    }
    return [known[name]() for name in settings.roots]
