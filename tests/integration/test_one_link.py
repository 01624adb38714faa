"""A session is opened once, by one browser: whoever asked for it cannot open it again beside its person."""

import asyncio

import pytest

from antechamber.errors import CallerError, Code
from antechamber.model import SessionStatus
from antechamber.signin import StartRequest
from tests.integration.scene import scene

ASKED = StartRequest(user_id="ada", provider="codex")


async def start(stage):
    return await stage.signin.start(ASKED, idempotency_key=None, caller="test")


async def test_a_second_link_is_never_given_or_opened_beside_the_persons(site):
    async with scene(site.folder, database_url=site.url) as stage:
        for _ in range(15):
            begun = await start(stage)

            async def ask_again(begun=begun):
                again = await start(stage)
                assert again.session.id == begun.session.id
                return again.link

            outcomes = await asyncio.gather(
                ask_again(), stage.signin.open(begun.session.id, begun.link), ask_again(), return_exceptions=True
            )
            cookie = outcomes[1]
            opened = not isinstance(cookie, Exception)
            for link in (outcomes[0], outcomes[2]):
                if isinstance(link, Exception):
                    assert link.code is Code.ALREADY_OPEN
                elif opened and link is not None:
                    with pytest.raises(CallerError) as refused:
                        await stage.signin.open(begun.session.id, link)
                    assert refused.value.code is Code.LINK_NOT_VALID
            if opened:
                assert await stage.signin.holds_cookie(begun.session.id, cookie)
            await stage.signin.cancel(begun.session.id, by_person=False)
            await stage.until(begun.session.id, SessionStatus.CANCELLED)


async def test_once_a_link_was_opened_the_next_request_is_told_so(site):
    async with scene(site.folder, database_url=site.url) as stage:
        begun = await start(stage)
        fresh = await start(stage)
        with pytest.raises(CallerError) as void:
            await stage.signin.open(begun.session.id, begun.link)
        assert void.value.code is Code.LINK_NOT_VALID
        await stage.signin.open(begun.session.id, fresh.link)
        with pytest.raises(CallerError) as told:
            await start(stage)
        assert told.value.code is Code.ALREADY_OPEN


async def test_a_link_that_is_opened_after_the_end_shows_the_end(site):
    async with scene(site.folder, database_url=site.url) as stage:
        begun = await start(stage)
        await stage.signin.cancel(begun.session.id, by_person=False)
        cookie = await stage.signin.open(begun.session.id, begun.link)
        assert await stage.signin.holds_cookie(begun.session.id, cookie)
