"""Which roots the settings name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from antechamber.vault.environment import Environment
from antechamber.vault.key_file import KeyFile
from antechamber.vault.kms import Kms

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
        "transit": lambda: _transit(settings),
        "kms": lambda: Kms(settings.kms_keys, within=settings.duration("root")),
    }
    return [known[name]() for name in settings.roots]


def _transit(settings: Settings) -> Root:
    from antechamber.vault.transit import Transit, token_of  # noqa: PLC0415 - its HTTP client costs each start 20 ms

    return Transit(
        settings.transit_url or "",
        mount=settings.transit_mount,
        name=settings.transit_key,
        namespace=settings.transit_namespace,
        token=token_of(settings.transit_token_file, settings.transit_token),
        authorities=settings.transit_ca_file,
        within=settings.duration("root"),
    )
