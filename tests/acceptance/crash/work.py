"""A tool at work in a scripted machine: it renews its credential now and then, and is ended at any instant."""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING, Any

from antechamber.guest.protocol import EgressAnswer
from antechamber.testing.run_guest import RunGuest
from tests.providers.samples import CODEX

if TYPE_CHECKING:
    from antechamber.testing.scripted_guest import GuestEnd, LinkEnd
    from tests.acceptance.crash.campaign import Report

RENEWAL_HOST = "auth.openai.com"
MOST_RENEWALS = 3


def signed_in(user: str, number: int) -> dict[str, bytes]:
    """Return the files of somebody's sign-in, or of the renewal of that number since."""
    tokens = {**CODEX["tokens"], "refresh_token": f"DUMMY-rt-{user}-{number:08}"}
    return {"credential": json.dumps({**CODEX, "tokens": tokens}).encode()}


def what_it_is(content: str) -> tuple[str, int]:
    """Return whose file it is, and of which renewal."""
    user, _, number = json.loads(content)["tokens"]["refresh_token"].removeprefix("DUMMY-rt-").rpartition("-")
    return user, int(number)


class Worker(RunGuest):
    """Renews a few times, each time over what it had, and ends by itself."""

    def __init__(self, report: Report, chance: float, *, build: str) -> None:
        super().__init__(build=build)
        self._report = report
        self._chance = random.Random(chance)  # noqa: S311 - to be repeated, not to be secret
        self.has = -1
        """The renewal that it has: begun with, or acknowledged."""
        self.sent = -1
        """The last one that it has reported, acknowledged or not."""
        self.is_burning = False
        """Whether the vendor may have given it another one that nobody was told of."""

    @property
    def is_sure(self) -> bool:
        """Whether what it reported last was acknowledged: then only that can be stored."""
        return self.sent == self.has

    async def __call__(self, guest: GuestEnd) -> int:
        try:
            return await super().__call__(guest)
        finally:
            self._report.burnt += self.is_burning and self.is_sure

    async def _course(self, link: LinkEnd) -> None:
        await super()._course(link)
        if not self.job:  # it had been ended before it got one
            return
        (content,) = [str(seed["content"]) for seed in self.job["seed"] if seed["path"].endswith("auth.json")]
        user, self.has = what_it_is(content)
        self.sent = self.has
        for _ in range(self._chance.randint(0, MOST_RENEWALS)):
            await asyncio.sleep(self._chance.random() * 0.2)
            await self._renew(user)
        await self.exit()

    async def _renew(self, user: str) -> None:
        try:
            self.is_burning = await self.connect(RENEWAL_HOST) is EgressAnswer.OK or self.is_burning
        except (OSError, ValueError):
            return  # the service is away: nothing has gone to the vendor
        if not self.is_burning:
            return
        await asyncio.sleep(self._chance.random() * 0.2)
        self.sent = self.has + 1
        if await self.renew(signed_in(user, self.sent)) is None:
            self.has, self.is_burning = self.sent, False
            self._report.renewals += 1
        else:
            self.sent = self.has


def expected(worker: Any, stored: Any, number: int | None) -> str:
    """Say what is wrong with the credential of a run whose machine has ended; empty when nothing is."""
    if stored is None or stored.deleted_at is not None or worker is None or worker.has < 0:
        return ""
    if number not in {worker.has, worker.sent}:
        return f"the vault has renewal {number}, its tool had {worker.has} and sent {worker.sent}"
    if worker.is_burning and worker.is_sure and stored.status_reason != "cut_short":
        return f"it may be burnt, and is {stored.status} {stored.status_reason}"
    return ""
