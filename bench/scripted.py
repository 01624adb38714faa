"""An installation whose machines are scripted: everything above the driver is what ships."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from tests.integration.scene import BUILD, PAGE_HOST, WHOLE, Scene

from antechamber.model import TERMINAL_STATUSES, MachineRow, SessionStatus
from antechamber.settings import Settings
from antechamber.signin import StartRequest
from antechamber.testing.scripted_guest import SignInGuest


class Installation(Scene):
    """A scene whose guests are found by their session."""

    def __init__(self, folder: Path, url: str) -> None:
        settings = Settings(world="demo", port=0, database_url=url, grace_completed_s=0, grace_failed_s=0, stop_s=5)
        super().__init__(folder, settings)
        self._guest_of: dict[str, SignInGuest] = {}

    async def _script(self, guest) -> int:
        program = self._guest_of[guest.spec.machine_id] = SignInGuest(build=BUILD, page_host=PAGE_HOST)
        try:
            return await program(guest)
        finally:
            del self._guest_of[guest.spec.machine_id]

    async def _machine(self, session_id: str) -> MachineRow:
        machine = await self.signin.machine(session_id)
        if machine is None:
            raise RuntimeError(f"session {session_id} has no machine")
        return machine

    async def sign_in(self, session_id: str) -> None:
        """Let the tool of a session's machine write its credential now."""
        machine = await self._machine(session_id)
        refused = await self._guest_of[machine.id].sign_in(WHOLE)
        if refused is not None:
            raise RuntimeError(f"the capture was refused: {refused}")

    async def whole(self, user: str) -> None:
        """Take one session through all its states, to the end of its machine."""
        started = await self.signin.start(StartRequest(user, "codex"), idempotency_key=None, caller="bench")
        session_id = started.session.id
        if started.link is None:
            raise RuntimeError(f"session {session_id} has no link")
        await self.signin.open(session_id, started.link)
        await self.signin.consent(session_id)
        await self.until(session_id, SessionStatus.AWAITING_SIGN_IN)
        ticket = await self.signin.ticket(session_id)
        await self.signin.redeem_ticket(session_id, ticket.secret)
        await self.signin.screen_seen(session_id)
        await self.sign_in(session_id)
        await self.signin.success_shown(session_id)
        # by its own hints: one that wakes for every other session's would measure itself
        with self.store.changes.watch(f"session:{session_id}") as changed:
            while not (await self._machine(session_id)).state.ended:
                await changed.wait(0.5)
        session = await self.signin.session(session_id)
        if session.status is not SessionStatus.COMPLETED or session.status not in TERMINAL_STATUSES:
            raise RuntimeError(f"a session ended as {session.status}: {session.detail}")


@contextlib.asynccontextmanager
async def installation(folder: Path, url: str) -> AsyncIterator[Installation]:
    """Give one that serves."""
    opened = Installation(folder, url)
    await opened.open()
    try:
        yield opened
    finally:
        await asyncio.shield(opened.end())
