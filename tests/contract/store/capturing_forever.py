"""Captures one session after the other until it is killed; prints each id once it was told `captured`."""

from __future__ import annotations

import asyncio
import sys
from itertools import count

from tests.contract.store.conftest import Steps

from antechamber.store import Store


async def main(url: str) -> None:
    store = await Store.open(url, world="demo")
    steps = Steps(store)
    for number in count():
        sealed = b"DUMMY ciphertext of version %d" % (number // 3 + 1)
        captured = await steps.completed(f"user{number % 3}", ciphertext=sealed)
        print(captured.session.id, flush=True)  # noqa: T201 - the test reads it


asyncio.run(main(sys.argv[1]))
