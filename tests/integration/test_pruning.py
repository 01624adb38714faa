"""A service deletes what is past its time by itself, beside its sign-ins."""

import asyncio

import pytest

from antechamber.errors import CallerError, Code
from tests.integration.scene import scene


async def test_a_service_that_starts_deletes_what_is_past_its_time_and_nothing_else(site):
    async with scene(site.folder, database_url=site.url, events_kept_s=0) as stage:
        ended = await stage.start()
        await stage.signin.cancel(ended.id, by_person=False)
        await stage.machine_ended(ended.id)
        live, _ = await stage.awaiting(user_id="bob")
        await stage.restart()
        with pytest.raises(CallerError) as gone:  # noqa: PT012 - it is asked for until it is gone
            async with asyncio.timeout(20):
                while True:
                    await stage.signin.session(ended.id)
        assert gone.value.code is Code.SESSION_NOT_FOUND
        assert (await stage.signin.session(live.id)).status == "awaiting_sign_in"
        assert await stage.signin.events(live.id) != []
