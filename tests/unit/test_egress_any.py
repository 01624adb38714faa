"""Whatever comes through the egress door: one word of the protocol, or nothing, and never more than was allowed."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.egress_scene import PUBLIC, Remote, Scene, Zone

from antechamber.egress.names import LONGEST_NAME, canonical
from antechamber.guest.protocol import EGRESS_LINE, EgressAnswer
from antechamber.model import GuestText

names = st.one_of(
    st.text(max_size=300),
    st.text(st.sampled_from("ab.-\udcff\ud800"), max_size=9),
    st.sampled_from(
        ["some.dev", "SOME.DEV.", "some.dev\0", "some.dev\n", "localhost", "127.1", "[::1]", "a" * 250 + ".dev"]
    ),
)
ports = st.one_of(st.integers(), st.booleans(), st.floats(), st.text(max_size=6), st.none(), st.sampled_from([80, 443]))
requests = st.fixed_dictionaries(
    {},
    optional={"op": st.sampled_from(["resolve", "connect", "listen", None]), "name": names, "port": ports, "x": names},
)
lines = st.one_of(
    requests.map(lambda request: json.dumps(request).encode()),
    requests.map(lambda request: json.dumps(request).encode("utf-16")),
    st.binary(max_size=EGRESS_LINE + 100),
    st.integers(1, EGRESS_LINE).map(lambda depth: b'{"op":' + b"[" * depth),
)


@pytest.fixture
async def remote(tmp_path):
    async def quiet(reader, writer):
        await reader.read()
        writer.close()

    async with Remote(tmp_path / "remote", quiet) as server:
        yield server


# each example has a scene of its own; the remote only counts
@settings(max_examples=200, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines, st.integers(0))
async def test_any_line_in_any_pieces_gets_one_word_or_none_and_connects_to_nothing_that_is_not_allowed(
    remote, line, cut
):
    scene = Scene(Zone(some_dev=[PUBLIC]), remote)
    line = line.replace(b"\n", b" ") + b"\n"
    connected = len(remote.connected)
    guest = await scene.dial(line[: cut % len(line)])
    await guest.writer.drain()
    guest.writer.write(line[cut % len(line) :])
    guest.writer.write_eof()
    try:
        heard = await asyncio.wait_for(guest.reader.read(), 20)
    except ConnectionError:
        heard = b""
    await guest.close()
    uses = scene.egress.uses()
    if not heard:
        assert uses == []
        assert len(remote.connected) == connected
        return
    answer = EgressAnswer(json.loads(heard)["answer"])
    (use,) = uses
    assert isinstance(use.name, str)
    assert len(use.name) <= GuestText.LIMIT
    if answer is EgressAnswer.OK:
        assert use.name == "some.dev"
    assert set(remote.connected[connected:]) <= {(PUBLIC, 80), (PUBLIC, 443)}


@settings(max_examples=300, derandomize=True)
@given(names)
def test_any_text_is_no_name_or_one_that_is_its_own_only_spelling(text):
    name = canonical(text)
    if name is None:
        return
    assert canonical(name) == name == text.lower().removesuffix(".")
    assert len(name) <= LONGEST_NAME
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-.")
