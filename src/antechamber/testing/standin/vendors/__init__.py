"""Which names the stand-in serves, and what each path of them answers; one module for each vendor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from antechamber.testing.standin.vendors import claude, codex, gemini

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from antechamber.testing.standin.setting import Setting


def hosts(setting: Setting) -> dict[str, list[BaseRoute]]:
    """Return the routes of every name that is served."""
    served: dict[str, list[BaseRoute]] = {}
    for vendor in (codex, claude, gemini):
        for name, routes in vendor.hosts(setting).items():
            served.setdefault(name, []).extend(routes)
    return served
