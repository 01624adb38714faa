"""What several of the drivers' tests use."""

import pytest

from antechamber.testing.bench import Bench
from tests.contract.drivers.test_namespace import NamespaceHost


@pytest.fixture
async def bench():
    host = NamespaceHost()
    bench = Bench(host)
    yield bench
    await bench.clear()
    host.remove()
