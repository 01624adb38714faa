"""A door that nobody holds for a moment, as when the service is being started again."""

import asyncio

import pytest

from antechamber.guest.doors import dial


async def test_f064_a_patient_dial_waits_until_somebody_listens(tmp_path):
    door = tmp_path / "egress.sock"
    dialling = asyncio.get_running_loop().create_task(dial(door, within=10, patient=True))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not dialling.done()
    server = await asyncio.start_unix_server(lambda _, writer: writer.close(), door)
    reader, writer = await dialling
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()


async def test_f064_an_impatient_one_says_at_once_that_nobody_listens(tmp_path):
    with pytest.raises(FileNotFoundError):
        await dial(tmp_path / "egress.sock", within=10)


async def test_patience_ends(tmp_path):
    with pytest.raises(TimeoutError):
        await dial(tmp_path / "egress.sock", within=0.05, patient=True)
