import contextlib
import re
from pathlib import Path

import pytest

from tests.acceptance.person import Person
from tests.acceptance.service import Service

KEPT = Path(__file__).parents[2] / "test-results" / "acceptance"
FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    for node in (item, item.getparent(pytest.Module)):
        node.stash[FAILED] = node.stash.get(FAILED, False) or report.failed
    return report


class Scene:
    """One service and the people at it; on a failure its logs and the last screens are kept."""

    def __init__(self, **settings):
        self.service = Service(**settings)
        self._people = []
        self._stack = contextlib.AsyncExitStack()

    async def person(self, provider, **named):
        """Let somebody come."""
        person = await self._stack.enter_async_context(Person(self.service, provider, **named))
        self._people.append(person)
        return person

    async def signed_in(self, provider):
        """Let somebody come, sign in and leave."""
        person = await self.person(provider)
        await person.finish()
        return person

    async def close(self, *, failed, name):
        if failed:
            where = KEPT / re.sub(r"[^a-z0-9_]+", "-", name)
            self.service.keep(where)
            for person in self._people:
                person.save_screen(where)
        try:
            await self._stack.aclose()
        finally:
            await self.service.remove()


@pytest.fixture
async def scene(request):
    # only one's own impatience would wait for the picture of the end
    scene = Scene(grace_completed_s=2)
    await scene.service.start()
    yield scene
    await scene.close(failed=request.node.stash.get(FAILED, False), name=request.node.name)
