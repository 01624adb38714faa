"""A Chromium for tests that has its own sandbox: it refuses to run as root with it, so root gives it another account.

Playwright's driver (Node) starts the browser, so the driver is what gets the account; the test itself only speaks to it
through a pipe. Where that account cannot read the installed driver (a checkout below /root), it gets a readable copy.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import shutil
import stat
from pathlib import Path

import playwright
from playwright.async_api import async_playwright

UID = 199_901
"""Belongs to nobody: below the machines' uids, above what distributions give out."""

CHROMIUM = "/usr/bin/chromium"
_DRIVER = Path(inspect.getfile(playwright)).parent / "driver"


def _readable_by_all(path: Path) -> bool:
    return all(place.stat().st_mode & stat.S_IXOTH for place in (path, *path.parents))


def _driver_for_others(folder: Path) -> Path:
    if _readable_by_all(_DRIVER):
        return _DRIVER
    copy = folder / "driver"
    shutil.copytree(_DRIVER, copy)
    return copy


def _started_by_root(folder: Path) -> Path:
    """Return a program that runs the driver under that account, as PLAYWRIGHT_NODEJS_PATH takes one."""
    folder.chmod(0o755)
    home = folder / "home"
    home.mkdir()
    os.chown(home, UID, UID)
    driver = _driver_for_others(folder)
    program = folder / "node"
    account = f"--reuid {UID} --regid {UID} --clear-groups --no-new-privs"
    # the first argument is the driver's script at the place that the account may not read
    program.write_text(
        f'#!/bin/sh\nshift\nexec setpriv {account} env HOME="{home}" XDG_RUNTIME_DIR="{home}" TMPDIR="{home}" '
        f'"{driver}/node" "{driver}/package/cli.js" "$@"\n'
    )
    program.chmod(0o755)
    return program


@contextlib.asynccontextmanager
async def chromium(folder: Path, *options: str):
    """Start Debian's Chromium, with its sandbox, under an account without rights; `folder` is a new one."""
    before = os.environ.get("PLAYWRIGHT_NODEJS_PATH")
    if os.geteuid() == 0:
        os.environ["PLAYWRIGHT_NODEJS_PATH"] = str(_started_by_root(folder))
    try:
        async with async_playwright() as started:
            browser = await started.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=True, args=options)
            try:
                yield browser
            finally:
                await browser.close()
    finally:
        os.environ.pop("PLAYWRIGHT_NODEJS_PATH", None)
        if before is not None:
            os.environ["PLAYWRIGHT_NODEJS_PATH"] = before
