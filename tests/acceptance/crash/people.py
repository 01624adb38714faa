"""People at scripted sign-ins, and what becomes of them."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from antechamber.errors import OperatorError
from antechamber.testing.visitor import Refused
from tests.acceptance.crash.person import LOOK_S, TERMINAL, Ended, Person
from tests.acceptance.crash.work import expected, signed_in
from tests.integration.scene import WHOLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from antechamber.testing.scripted_guest import SignInGuest
    from tests.acceptance.crash.scripted import Scripted


class ScriptedPerson(Person):
    """One person whose machine's program does what they say."""

    def __init__(self, campaign: Scripted, user: str, fate: str, chance: random.Random) -> None:
        super().__init__(campaign, user, fate, chance)
        self._machines = campaign

    async def _guest(self) -> SignInGuest:
        """Return the session's guest, once its machine runs."""
        view = await self._view()
        while (guest := self._machines.guests.get(view["machine"]["id"])) is None:
            if view["status"] in TERMINAL:
                raise Ended
            view = await self._view(wait=True)
        return guest

    async def _ready(self) -> SignInGuest:
        guest = await self._guest()
        view = await self._view()
        while view["status"] != "awaiting_sign_in":
            if view["status"] in TERMINAL:
                raise Ended
            view = await self._view(wait=True)
        return guest

    async def _look(self) -> None:
        """See the screen, as often as it takes."""
        screen = await self._screen()
        await screen.close()

    async def _seen(self) -> None:
        """Look until the session knows of it: a screen that was cut off at once may not have counted."""
        while (await self.page(lambda browser: browser.session(self.session_id)))["screen_seen_at"] is None:
            await self._look()

    async def _live(self) -> None:
        if self.fate == "is_bound":
            self.rights = {"Authorization": f"Bearer {await self._campaign.key_of_an_application()}"}
        if self.fate == "erased":
            await self._erased()
        else:
            if self.fate == "works":
                # of their own, because other sign-ins of the label would replace it
                self.user = f"{self.user}-{secrets.token_hex(4)}"
            await super()._live()

    # -- the fates

    async def _completes(self) -> None:
        if self._chance.random() < 0.5:
            await self._open()
        guest = await self._ready()
        if self._browser is not None:
            await self._look()
        await self._hand_in(guest)
        if self._browser is not None and self._chance.random() < 0.5:
            await self.page(lambda browser: browser.shown(self.session_id))

    async def _hand_in(self, guest: SignInGuest, files: Mapping[str, bytes] = WHOLE) -> None:
        self._may_end("completed")
        refused = await self._machines.while_it_runs(guest, guest.sign_in(files))
        if refused is None:
            self._campaign.captured.add(self.session_id)
        else:
            self._campaign.refused.add(self.session_id)

    async def _is_bound(self) -> None:
        """Come by the link of an application, which says whose browser it is; somebody else tries the same before."""
        while not await self._came_back():
            pass
        await self.page(lambda browser: browser.consent(self.session_id))
        guest = await self._ready()
        await self._look()
        await self._hand_in(guest)

    async def _came_back(self) -> bool:
        """Open a fresh link, be named and come back; False where a kill has taken what only an answer told."""
        here = f"/api/auth/session/{self.session_id}"
        link = await self._ask_for_one()
        if not link:
            await self._lock_out()
        try:
            await self._post("open", code=link)
            challenge = await self._challenge()
            if self._chance.random() < 0.3:
                eve = {"user_id": "eve", "challenge": challenge}
                await self._refused(self.call("POST", f"{here}/bind", eve), "bind_other_person", "challenge_not_valid")
                challenge = await self._challenge()
            await self._refused(self._post("consent"), "bind_needed", "not_signed_in")
            bound = await self.call("POST", f"{here}/bind", {"user_id": self.user, "challenge": challenge})
            back = bound["continue_url"].partition("#bound.")[2]
            if self._chance.random() < 0.3:
                own, self._browser = self._browser, None
                await self._refused(self._post("return", code=back), "return_not_valid")
                self._browser = own
                # that has used it up: whoever follows a link that was sent on keeps its person out for the moment
                await self._refused(self._post("return", code=back), "return_not_valid")
                return False
            await self._post("return", code=back)
        except Refused as refused:
            if refused.code in {"session_ended", "already_open"}:
                raise Ended from refused
            if refused.code not in {"link_not_valid", "challenge_not_valid", "return_not_valid", "not_signed_in"}:
                raise
            return False
        return True

    async def _challenge(self) -> str:
        way = await self._post("binding")
        return parse_qs(urlsplit(way["url"]).query)["challenge"][0]

    async def _post(self, word: str, **body: str) -> Any:
        path = f"/api/auth/session/{self.session_id}/{word}"
        return await self.page(lambda browser: browser._call("POST", path, body))

    async def _refused(self, asked: Awaitable[object], *codes: str) -> None:
        try:
            await asked
        except Refused as refused:
            if refused.code not in codes:
                raise
        else:
            self._campaign.faults.append(f"{self.session_id} let somebody in who is not {self.user}: not {codes}")

    async def _single_sign_on(self) -> None:
        """The file is whole before the first painted frame."""
        guest = await self._guest()
        await self._machines.while_it_runs(guest, guest.page_open.wait())
        await self._hand_in(guest)

    async def _rejects(self) -> None:
        await self._open()
        await self._hand_in(await self._ready())
        path = f"/api/auth/session/{self.session_id}/reject"
        with contextlib.suppress(Refused):  # a later sign-in of the same person may have replaced it
            await self.page(lambda browser: browser._call("POST", path, {}))

    async def _deletes(self) -> None:
        await self._hand_in(await self._ready())
        view = await self._view()
        if view["credential_id"] is not None:
            with contextlib.suppress(Refused):
                await self.call("DELETE", f"/api/credentials/{view['credential_id']}")

    async def _cancelled(self) -> None:
        for step in (self._open, self._ready, self._seen):
            if self._chance.random() < 0.3:
                break
            await step()
        await self._cancel()

    async def _superseded(self) -> None:
        if self._chance.random() < 0.5:
            await self._ready()
        self._may_end("superseded")
        self._key = secrets.token_hex(8)
        await self._ask_for_one(replace=True)
        self._may_end("completed")
        await self._hand_in(await self._ready())

    async def _gives_up(self) -> None:
        await self._open()
        guest = await self._ready()
        await self._seen()
        self._may_end("completed", "cli_ended")
        if await self._machines.while_it_runs(guest, guest.end_cli(1, "no thanks")) is not None:
            return
        with contextlib.suppress(Refused):
            await self.page(lambda browser: browser.again(self.session_id, 1))
            await self._machines.while_it_runs(guest, guest.again.wait())
            await self._hand_in(guest)

    async def _cli_ended(self) -> None:
        guest = await self._ready()
        await self._machines.while_it_runs(guest, guest.end_cli(1, "no thanks"))

    async def _credential_unusable(self) -> None:
        guest = await self._ready()
        refused = await self._machines.while_it_runs(guest, guest.sign_in({"credential": b"{}"}))
        assert refused is not None

    async def _crashes(self) -> None:
        """The machine's first program is killed, in any phase."""
        await self._some_phase()
        self._may_end("machine_ended", "machine_did_not_start")
        self._machines.kill(await self._guest(), keeper=False)

    async def _keeper(self) -> None:
        """The machine's keeper is killed, in any phase: nobody records how it ended."""
        await self._some_phase()
        self._may_end("machine_ended", "machine_did_not_start")
        self._machines.kill(await self._guest(), keeper=True)

    async def _some_phase(self) -> None:
        steps = [self._guest, self._open, self._ready, self._seen]
        if self._chance.random() < 0.3:
            steps = [self._guest]
        elif self._chance.random() < 0.5:
            steps = [self._ready]
        for step in steps:
            await step()

    async def _erased(self) -> None:
        """Everything of them is removed, in any phase, and asked about until nothing is known of them."""
        # a label of its own, because it goes with all that is under it
        self.user = f"{self.user}-{secrets.token_hex(4)}"
        self._campaign.erased.add(self.user)
        await self._ask_for_one()
        with contextlib.suppress(Ended):
            await self._some_phase()
            if self._chance.random() < 0.5:
                await self._hand_in(await self._guest())
        path = f"/api/owners/{self.user}"
        with contextlib.suppress(Refused):  # done already, and its answer was lost
            await self.call("DELETE", path)
        while True:
            try:
                await self.call("GET", path)
            except Refused as refused:
                if refused.code == "owner_not_found":
                    return
                raise
            await asyncio.sleep(LOOK_S)

    async def _works(self) -> None:
        """Their tool is run with what they signed in with, over and over, and again after a new sign-in."""
        await self._hand_in(await self._ready(), signed_in(self.user, 0))
        for _ in range(self._chance.randint(2, 4)):
            if self._campaign.done:
                return
            run_id = await self._run_once()
            if run_id is None:
                continue
            run, machine, stored = await self._over(run_id)
            if fault := expected(self._machines.workers.get(run.machine_id), stored, await self._stored_number()):
                self._campaign.faults.append(
                    f"{run_id} of {self.user}, {run.reason}, {machine and machine.id}: {fault}"
                )
                return
            if stored is not None and stored.status == "needs_sign_in":
                self._key = secrets.token_hex(8)
                await self._ask_for_one()
                await self._hand_in(await self._ready(), signed_in(self.user, 0))

    async def _run_once(self) -> str | None:
        """Ask for a run and read it, perhaps not to its end; None where nobody answered."""
        leaves_after = self._chance.choice((0.0, 0.1, 0.5, 60.0, 60.0))
        killed_after = self._chance.choice((None, None, None, 0.2, 0.5))
        is_keeper = self._chance.random() < 0.5
        run_id: str | None = None
        await self._campaign.alive()
        try:
            async with (
                asyncio.timeout(leaves_after),
                self._machines.control.converse(
                    "run", provider=self.provider, arguments=["exec"], user_id=self.user
                ) as channel,
            ):
                while (message := await channel.receive()) is not None and "end" not in message:
                    if "run" in message:
                        run_id = message["run"]["id"]
                    if "begun" in message and killed_after is not None and run_id is not None:
                        await asyncio.sleep(killed_after)
                        await self._kill_worker(run_id, keeper=is_keeper)
        except TimeoutError:
            pass  # they have gone
        except (OperatorError, OSError):
            await asyncio.sleep(LOOK_S)  # the service has
        return run_id

    async def _kill_worker(self, run_id: str, *, keeper: bool) -> None:
        run, _, _ = await self._machines.rows_of(run_id)
        if (worker := self._machines.workers.get(run.machine_id)) is not None:
            self._machines.kill(worker, keeper=keeper)

    async def _over(self, run_id: str) -> tuple[Any, Any, Any]:
        while True:
            run, machine, stored = await self._machines.rows_of(run_id)
            if run.status == "ended" and (machine is None or machine.ended_at is not None):
                return run, machine, stored
            await asyncio.sleep(LOOK_S)

    async def _stored_number(self) -> int | None:
        """Open what is stored, as the vault does, and return of which renewal it is."""
        return await self._machines.stored_number(self.user)

    async def _nobody_came(self) -> None:
        await self._ready()

    async def _sign_in_timed_out(self) -> None:
        await self._open()
        await self._ready()
        await self._seen()


FATES = {
    "completes": 8,
    "is_bound": 4,
    "single_sign_on": 2,
    "rejects": 1,
    "deletes": 1,
    "cancelled": 2,
    "superseded": 1,
    "gives_up": 2,
    "cli_ended": 1,
    "credential_unusable": 1,
    "crashes": 2,
    "keeper": 2,
    "erased": 1,
    "works": 6,
}
"""What people do, and how many of so many."""
IN_TIME = {"nobody_came": 1, "sign_in_timed_out": 1, "gives_up": 1, "completes": 1}
"""The same where time is short."""
