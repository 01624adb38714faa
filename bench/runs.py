"""h: the remote CLI: what `antechamber run` adds to a tool's start, a key to its echo, a renewal until it is stored."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from tests.acceptance.person import Person
from tests.acceptance.service import Service, until
from tests.acceptance.test_remote_cli import echoes, trusted
from tests.acceptance.test_run import run as run_command
from tests.browser.unprivileged import chromium
from tests.contract.drivers.test_programs import mounts_of
from tests.integration.test_runs import begun, renewed, signed_in

from antechamber.providers import Providers, job
from bench import bare
from bench.connect import PROVIDERS, demo
from bench.figures import Figure, Size, Target, say

ADDS_MS = 500
ECHO_MS = 40
STORED_MS = 50
TYPED = "say hello to whoever reads this"
_WITHIN_MS = 60_000
_GONE_S = 30


async def run(size: Size) -> list[Figure]:
    """Measure."""
    async with demo(grace_completed_s=0) as service:
        figures = await _starts(service, size)
        echo = await _echoes(service, size)
    return [*figures, echo, await _stores(size)]


async def _starts(service: Service, size: Size) -> list[Figure]:
    figures = []
    for spec in (Providers.load().get(provider) for provider in PROVIDERS):
        say(f"h: {spec.id}")
        async with Person(service, spec.id) as person:
            await person.finish()
        whole = Figure("h", f"`antechamber run {spec.id} -- --version`", "ms", peer="the same in a bare sandbox")
        adds = Figure("h", f"what that adds, {spec.id}", "ms", targets=(Target("median", ADDS_MS),))
        await _ran(service, spec.id)
        for _ in range(size.of(12)):
            theirs = await bare.ran(mounts_of(spec), *job.program(spec), "--version")
            ours = await _ran(service, spec.id)
            whole.ours.append(ours)
            whole.theirs.append(theirs)
            adds.ours.append(ours - theirs)
        figures += [whole, adds]
    return figures


async def _ran(service: Service, provider: str) -> float:
    """Return the milliseconds that the command took; the run before has given its credential back by then."""
    await until(lambda: not any(service.run.iterdir()), _GONE_S, "the machine of the run before does not end")
    begun_at = time.monotonic()
    ran = await run_command(service, provider, "--version")
    if ran.code != 0:
        raise RuntimeError(f"antechamber run {provider} ended with {ran.code}: {ran.errors}")
    return (time.monotonic() - begun_at) * 1000


async def _echoes(service: Service, size: Size) -> Figure:
    """Type to Claude Code in the page's terminal, and see each key on the screen."""
    say("h: a key to its echo")
    figure = Figure(
        "h", "a key in the page's terminal to its echo, claude_code", "ms", targets=(Target("median", ECHO_MS),)
    )
    link = (await service.control.call("dashboard.link"))["url"]
    with tempfile.TemporaryDirectory(prefix="antechamber-bench-") as folder:
        async with chromium(Path(folder)) as browser:
            page = await browser.new_page()
            page.set_default_timeout(_WITHIN_MS)

            await page.goto(link.replace("/#", "/runs#"))
            await page.get_by_role("button", name="Open a terminal of Claude Code").click()
            await trusted(page)
            figure.ours += await echoes(page, TYPED[: size.of(len(TYPED), 4)])
            await page.get_by_role("button", name="End the run").click()
            await page.get_by_role("button", name="End it").click()
            await page.get_by_text("The run was cancelled.").wait_for()
    return figure


async def _stores(size: Size) -> Figure:
    """Have a tool renew again and again: from the whole file until its machine knows that it is stored."""
    say("h: renewals")
    figure = Figure(
        "h", "a renewed file until it is stored, scripted machine", "ms", targets=(Target("median", STORED_MS),)
    )
    with tempfile.TemporaryDirectory(prefix="acb-", dir="/tmp") as folder:
        async with signed_in(Path(folder)) as made:
            _, guest = await begun(made)
            for number in range(size.of(200, 3)):
                files = renewed(number + 1)
                whole_at = time.monotonic()
                if (refused := await guest.renew(files)) is not None:
                    raise RuntimeError(f"the renewal was refused: {refused}")
                figure.ours.append((time.monotonic() - whole_at) * 1000)
            await guest.exit()
    return figure
