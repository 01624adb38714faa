"""What several tiers use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
import uvloop
from hypothesis import settings
from psycopg import sql

from antechamber.store import Store, file_url
from antechamber.store.postgres_roles import roles
from tests.postgres import SERVICE, Server, programs

if TYPE_CHECKING:
    from tests.bao import Bao
    from tests.moto_kms import Moto

_OF_A_MACHINE = ("unit/guest", "unit/keeper")


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run each test on the loop on which its subject runs: uvloop, and in machines and keepers asyncio's own."""
    inside = any(part in item.path.as_posix() for part in _OF_A_MACHINE)
    return {"asyncio": asyncio.new_event_loop} if inside else {"uvloop": uvloop.new_event_loop}


# by default an example that takes 200 ms fails: how long this computer lets a program wait is no property of ours, and
# what never ends is ended by pytest's own timeout
settings.register_profile("ours", deadline=None)
settings.load_profile("ours")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """The run's PostgreSQL server, started when the first test asks for it."""
    folder = programs()
    if folder is None:
        pytest.skip("PostgreSQL's programs are not installed; `make test` installs them")
    server = Server(folder)
    yield server
    server.close()


@pytest.fixture(scope="session")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bao]:
    """The run's OpenBao, started when the first test asks for it."""
    from tests.bao import Bao  # its wheel is a large one, and most tests need none of it

    server = Bao(tmp_path_factory.mktemp("bao"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    """The run's stand-in for AWS KMS, started when the first test asks for it."""
    from tests.moto_kms import Moto

    server = Moto(tmp_path_factory.mktemp("moto"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def postgres_template(postgres: Server) -> str:
    """The name of a database to copy: making its tables takes longer than most tests."""
    name = postgres.create()

    async def make() -> None:
        await (await Store.open(postgres.url(name), world="demo")).close()
        # whoever tests a store on it does so by the role that the docs recommend
        assert (await roles(postgres.url(name), SERVICE, apply=True)).ways == []

    asyncio.run(make())
    # which world it belongs to is for its first service to say
    postgres.run(sql.SQL("DELETE FROM installation"), name)
    return name


@pytest.fixture
def postgres_url(postgres: Server, postgres_template: str) -> Iterator[str]:
    """The URL of a database with this release's tables and nothing in them, by a role that does not own it."""
    name = postgres.create(postgres_template)
    yield postgres.url(name, SERVICE)
    postgres.drop(name)


@pytest.fixture(params=["sqlite", "postgres"])
def database(request, tmp_path) -> str:
    """The URL of a database of the practice world, of each kind."""
    if request.param == "sqlite":
        return file_url(tmp_path / "shared.db")
    url: str = request.getfixturevalue("postgres_url")
    return url
