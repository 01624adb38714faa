"""b: from the moment that the credential file is whole until the page's event stream says `completed`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from tests.acceptance.person import Person

from antechamber.model import Secret, SessionStatus
from antechamber.testing.visitor import Application, Browser
from bench.connect import demo
from bench.figures import ROOT, Figure, Size, Target, say

MEDIAN_MS, P99_MS = 50, 200
_TOLD_S = 60.0
TARGETS = (Target("median", MEDIAN_MS), Target("p99", P99_MS))


async def run(size: Size) -> list[Figure]:
    """Measure."""
    scripted = Figure("b", "file whole to `completed` in the page's events, scripted machine", "ms", targets=TARGETS)
    real = Figure("b", "file whole to `completed` in the page's events, codex in its machine", "ms", targets=TARGETS)
    say("b: scripted machines")
    async with _scripted() as (base, sign_in, token, order), Application(base, token) as application:
        for number in range(size.of(500, 3)):
            scripted.ours.append(await _once(application, sign_in, f"user-{number}", order))
    async with demo(grace_completed_s=0) as service:
        for number in range(size.of(12)):
            say(f"b: a real machine, {number + 1}")
            async with Person(service, "codex", f"person-{number}") as person:
                await person.to_the_code()
                async with asyncio.TaskGroup() as group:
                    told = group.create_task(_told(person.browser, person.session_id))
                    await person.from_the_code()
                real.ours.append(told.result())
                await person.leave()
                await service.machine_gone(person.session_id)
    return [scripted, real]


@contextlib.asynccontextmanager
async def _scripted() -> AsyncIterator[tuple[str, str, Secret, asyncio.StreamWriter]]:
    with tempfile.TemporaryDirectory(prefix="ac-bench-", dir="/tmp") as folder:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "bench.scripted_service", folder),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            told: dict[str, Any] = json.loads(await process.stdout.readline())
            yield told["base"], told["sign_in"], Secret(told["token"]), process.stdin
        finally:
            process.stdin.close()
            try:
                async with asyncio.timeout(10):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


async def _once(application: Application, sign_in: str, user: str, order: asyncio.StreamWriter) -> float:
    started = await application.start("codex", user)
    async with Browser(sign_in) as browser:
        await browser.open(started)
        await browser.consent(started.session_id)
        return await _told(browser, started.session_id, order)


async def _told(browser: Browser, session_id: str, order: asyncio.StreamWriter | None = None) -> float:
    """Follow the page's events; return the milliseconds from the whole file until its completion was told."""
    async with asyncio.timeout(_TOLD_S), contextlib.aclosing(browser.events(session_id)) as events:
        async for told in events:
            at = time.time()
            after = told.body.get("after")
            if after == SessionStatus.COMPLETED:
                whole = datetime.fromisoformat(told.body["fields"]["file_whole_at"])
                return (at - whole.timestamp()) * 1000
            if after == SessionStatus.AWAITING_SIGN_IN and order is not None:
                order.write(f"{session_id}\n".encode())
                await order.drain()
    raise RuntimeError("the events ended before the session was completed")
