"""The vault is asked from the event loop, which goes on meanwhile, for so long at most."""

from __future__ import annotations

import asyncio
import threading

import pytest
import structlog

from antechamber.errors import Code, OperatorError, VaultError
from antechamber.log import about
from antechamber.vault import asking, at_the_root


async def test_what_does_not_answer_is_away_and_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(asking, "LONGEST_S", 0.1)
    never = threading.Event()
    try:
        with pytest.raises(OperatorError) as refused:
            await at_the_root(never.wait, 60)
        assert refused.value.code is Code.ROOT_UNAVAILABLE
    finally:
        never.set()


async def test_the_loop_goes_on_while_one_call_waits_for_another():
    asked, answered = threading.Event(), threading.Event()

    def ask():
        asked.set()
        return answered.wait(30)

    call = asyncio.get_running_loop().create_task(at_the_root(ask))
    assert await asyncio.to_thread(asked.wait, 30)
    assert not call.done()
    answered.set()
    assert await call


async def test_more_calls_than_there_are_threads_for_hold_up_no_other_work(monkeypatch):
    monkeypatch.setattr(asking, "LONGEST_S", 0.2)
    never = threading.Event()
    try:
        calls = [asyncio.get_running_loop().create_task(at_the_root(never.wait, 60)) for _ in range(40)]
        assert await asyncio.to_thread(lambda: 7) == 7
        said = await asyncio.gather(*calls, return_exceptions=True)
        assert {error.code for error in said} == {Code.ROOT_UNAVAILABLE}
    finally:
        never.set()
    monkeypatch.setattr(asking, "LONGEST_S", 30)
    assert await at_the_root(lambda: 8) == 8


@pytest.mark.parametrize("error", [VaultError(Code.OPEN_FAILED), TimeoutError("DUMMY"), ValueError("DUMMY")])
async def test_what_it_raises_is_what_is_heard(error):
    def fail():
        raise error

    with pytest.raises(type(error)) as heard:
        await at_the_root(fail)
    assert str(heard.value) == str(error)


async def test_what_it_logs_says_whom_it_is_about():
    with about(session="ses_1"):
        assert (await at_the_root(structlog.contextvars.get_contextvars))["session"] == "ses_1"
