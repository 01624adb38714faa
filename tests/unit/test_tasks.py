"""Named tasks: kept, awaited, and heard of when they fail."""

import asyncio

import pytest
import structlog

from antechamber.tasks import Signal, Tasks, cancel_and_wait, spawn


async def forever():
    await asyncio.Event().wait()


async def fails():
    raise RuntimeError("DUMMY fault")


async def stubborn(begun, ended):
    """End only after some work of its own, as whoever tidies up does."""
    begun.set()
    try:
        await forever()
    finally:
        await asyncio.sleep(0)
        ended.set()


async def test_a_task_has_its_name_and_its_result():
    async def answer():
        return 42

    task = spawn("answer", answer())

    assert task.get_name() == "answer"
    assert await task == 42


async def test_a_failure_that_nobody_awaits_is_logged_with_the_tasks_name():
    with structlog.testing.capture_logs() as logged:
        task = spawn("doomed", fails())
        await asyncio.wait({task})
        await asyncio.sleep(0)

    assert [(entry["event"], entry["task"]) for entry in logged] == [("task failed", "doomed")]
    assert "DUMMY fault" in logged[0]["error"]


KEPT = "DUMMY-kept-value"


def encodes():
    f"{KEPT}\ud800".encode()


def decodes():
    (KEPT.encode() + b"\xff").decode()


def groups():
    raise ExceptionGroup("several", [UnicodeDecodeError("utf-8", KEPT.encode(), 0, 1, "bad")])


@pytest.mark.parametrize("fault", [encodes, decodes, groups])
async def test_a_failure_that_holds_a_text_is_logged_without_it(fault):
    async def work():
        fault()

    with structlog.testing.capture_logs() as logged:
        await asyncio.wait({spawn("doomed", work())})
        await asyncio.sleep(0)

    shown = structlog.processors.format_exc_info(None, "error", logged[0])
    assert KEPT not in str(shown)
    assert fault.__name__ in shown["exception"]


async def test_a_cancelled_task_is_no_failure():
    with structlog.testing.capture_logs() as logged:
        task = spawn("waiting", forever())
        await cancel_and_wait(task)

    assert task.cancelled()
    assert logged == []


async def test_cancelling_waits_until_the_task_has_tidied_up_and_takes_what_has_ended():
    begun, ended = asyncio.Event(), asyncio.Event()
    task, done = spawn("stubborn", stubborn(begun, ended)), spawn("done", asyncio.sleep(0))
    await begun.wait()
    await done

    await cancel_and_wait(task, done, None)

    assert ended.is_set()


async def test_cancelling_can_itself_be_cancelled():
    release = asyncio.Event()

    async def slow():
        try:
            await forever()
        finally:
            await release.wait()

    task = spawn("slow", slow())
    await asyncio.sleep(0)
    waiting = spawn("waiting", cancel_and_wait(task))
    await asyncio.sleep(0)
    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not task.done()
    release.set()
    await asyncio.wait({task})


async def test_a_set_ends_what_it_holds_and_what_that_starts_as_it_ends():
    ended = []

    async def second():
        ended.append("second")

    async def first(tasks):
        try:
            await forever()
        finally:
            ended.append("first")
            await tasks.spawn("second", second())

    async with Tasks("set") as tasks:
        task = tasks.spawn("first", first(tasks))
        assert task.get_name() == "set:first"
        await asyncio.sleep(0)

    assert ended == ["first", "second"]
    assert all(one is asyncio.current_task() for one in asyncio.all_tasks())


async def test_a_set_can_be_closed_from_within():
    tasks = Tasks("set")
    other = tasks.spawn("other", forever())

    await tasks.spawn("closer", tasks.close())

    assert other.cancelled()


async def test_a_set_can_be_waited_for_until_all_has_ended_by_itself():
    tasks, go, done = Tasks("set"), asyncio.Event(), []

    async def work():
        await go.wait()
        done.append(1)

    tasks.spawn("one", work())
    tasks.spawn("two", work())
    drained = spawn("drained", tasks.drained())
    await asyncio.sleep(0)
    assert not drained.done()
    go.set()
    await drained

    assert done == [1, 1]


async def test_a_wake_up_before_the_wait_is_not_lost_and_counts_once():
    signal = Signal()
    signal.wake()
    signal.wake()

    assert await signal.wait(None)
    assert not await signal.wait(0.01)


async def test_a_wake_up_during_the_wait_ends_it():
    signal = Signal()
    waiting = spawn("waiting", signal.wait(20))
    await asyncio.sleep(0)
    signal.wake()

    assert await waiting
