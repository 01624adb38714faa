"""The control socket: who may ask, what an answer is, and how errors come back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import stat
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from antechamber import control
from antechamber.errors import CallerError, Code, OperatorError, ProviderError
from antechamber.model import Owner, Secret


@pytest.fixture
async def serve(tmp_path):
    servers = []

    async def start(operations, name=control.SOCKET_NAME):
        server = await control.serve(tmp_path / name, operations)
        servers.append(server)
        return control.Client(tmp_path / name, within=timedelta(seconds=20))

    yield start
    for server in servers:
        await server.close()


async def _pong(_):
    return "pong"


async def test_an_operation_gets_its_arguments_and_answers_with_rows_and_times(serve):
    async def show(arguments):
        return {
            "asked": arguments["id"],
            "owner": Owner("ann"),
            "at": datetime(2026, 11, 22, tzinfo=UTC),
            "took": timedelta(milliseconds=1500),
        }

    client = await serve({"sessions.show": show})

    assert await client.call("sessions.show", id="ses_x") == {
        "asked": "ses_x",
        "owner": {"user_id": "ann", "application": "default"},
        "at": "2026-11-22T00:00:00Z",
        "took": 1.5,
    }


async def test_an_error_of_the_service_comes_back_as_the_same_error(serve):
    async def check(_):
        raise ProviderError(Code.CREDENTIAL_MALFORMED, message="It is cut off.", next_step="Sign in again.", detail="x")

    client = await serve({"credentials.check": check})

    with pytest.raises(ProviderError, match="It is cut off") as caught:
        await client.call("credentials.check")
    assert (caught.value.code, caught.value.next) == (Code.CREDENTIAL_MALFORMED, "Sign in again.")
    assert caught.value.detail == "", "the detail stays in the service's log"


async def test_a_bug_in_an_operation_is_internal_and_the_service_goes_on(serve):
    async def broken(_):
        return 1 / 0

    async def leaking(_):
        return {"token": Secret("DUMMY")}

    client = await serve({"broken": broken, "leaking": leaking, "ping": _pong})

    for word in ("broken", "leaking"):
        with pytest.raises(OperatorError) as caught:
            await client.call(word)
        assert caught.value.code is Code.INTERNAL
    assert await client.running()


async def test_an_unknown_operation_is_the_callers_error(serve):
    client = await serve({"ping": _pong})

    with pytest.raises(CallerError) as caught:
        await client.call("credentials.reveal")
    assert caught.value.code is Code.NOT_FOUND


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"not json\n", Code.NOT_JSON),
        (b"[]\n", Code.BAD_REQUEST),
        (b'{"op": 1}\n', Code.BAD_REQUEST),
        (b'{"op": "ping", "with": []}\n', Code.BAD_REQUEST),
        (b'{"op": "' + b"x" * (2 * control.MAX_REQUEST) + b'"}\n', Code.BODY_TOO_LARGE),
        (b"[" * 20_000 + b"\n", Code.NOT_JSON),
    ],
)
async def test_bad_input_is_answered_with_its_code(serve, tmp_path, line, code):
    await serve({"ping": _pong})
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / control.SOCKET_NAME))

    writer.write(line)
    answer = await reader.readline()

    assert f'"code":"{code}"'.encode() in answer
    writer.close()
    await writer.wait_closed()


async def test_one_connection_may_ask_several_times(serve, tmp_path):
    await serve({"ping": _pong})
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / control.SOCKET_NAME))

    for _ in range(3):
        writer.write(b'{"op": "ping"}\n')
        assert await reader.readline() == b'{"answer":"pong"}\n'
    writer.close()
    await writer.wait_closed()


async def test_the_socket_is_for_the_owner_alone_and_goes_with_the_service(tmp_path):
    path = tmp_path / control.SOCKET_NAME
    server = await control.serve(path, {"ping": _pong})

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await server.close()
    assert not path.exists()
    await server.close()


async def test_no_service_is_its_own_error(tmp_path):
    client = control.Client(tmp_path / control.SOCKET_NAME)

    assert not await client.running()
    with pytest.raises(OperatorError) as caught:
        await client.call("status")
    assert caught.value.code is Code.SERVICE_NOT_RUNNING


async def test_f072_a_socket_that_a_killed_service_left_is_replaced(serve, tmp_path):
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / control.SOCKET_NAME))
    left.close()

    client = await serve({"ping": _pong})

    assert await client.running()


async def test_a_second_service_is_refused_and_the_first_keeps_its_socket(serve, tmp_path):
    client = await serve({"ping": _pong})

    with pytest.raises(OperatorError) as caught:
        await control.serve(tmp_path / control.SOCKET_NAME, {})
    assert caught.value.code is Code.ALREADY_RUNNING
    assert await client.running()


async def test_a_file_that_is_no_socket_is_not_removed(tmp_path):
    path = tmp_path / control.SOCKET_NAME
    path.write_text("mine")

    with pytest.raises(OperatorError) as caught:
        await control.serve(path, {})
    assert caught.value.code is Code.MISCONFIGURED
    assert path.read_text() == "mine"


async def test_a_data_directory_with_a_long_name_is_no_trouble(tmp_path):
    folder = tmp_path / ("long" * 50)
    folder.mkdir()
    server = await control.serve(folder / control.SOCKET_NAME, {"ping": _pong})

    assert await control.Client(folder / control.SOCKET_NAME).running()
    await server.close()


async def test_a_service_that_stops_in_the_middle_is_not_taken_for_an_answer(tmp_path):
    path = tmp_path / control.SOCKET_NAME
    begun = asyncio.Event()

    async def endless(_):
        begun.set()
        await asyncio.Event().wait()

    server = await control.serve(path, {"check": endless})
    asking = asyncio.get_running_loop().create_task(control.Client(path).call("check"))
    await begun.wait()
    await server.close()

    with pytest.raises(OperatorError) as caught:
        await asking
    assert caught.value.code is Code.SERVICE_NOT_RUNNING


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: another account asks")
async def test_another_account_is_refused_even_where_the_file_lets_it_in(serve, tmp_path):
    await serve({"ping": _pong})
    path = tmp_path / control.SOCKET_NAME
    tmp_path.chmod(0o711)
    path.chmod(0o666)
    ask = "import os,socket,sys; os.chdir(sys.argv[1]); os.setgroups([]); os.setgid(65534); os.setuid(65534); "
    ask += "s=socket.socket(socket.AF_UNIX); s.connect('control.sock'); s.sendall(b'{\"op\":\"ping\"}\\n'); "
    ask += "print(s.makefile().readline())"
    program = await asyncio.create_subprocess_exec(
        "/usr/bin/python3", "-I", "-c", ask, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )

    answer, _ = await program.communicate()

    assert b'"not_allowed"' in answer


# the last is what a byte of an argument becomes that is no UTF-8
texts = st.text() | st.text(st.sampled_from("ab \udcff"), max_size=9)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
requests = st.fixed_dictionaries(
    {}, optional={"op": st.sampled_from(["ping", "echo", "refuse"]) | values, "with": values, "x": values}
)
lines = st.one_of(
    requests.map(lambda request: json.dumps(request).encode()),
    st.dictionaries(texts, values).map(lambda table: json.dumps({"op": "echo", "with": table}).encode()),
    st.dictionaries(texts, values).map(lambda table: json.dumps({"op": "refuse", "with": table}).encode()),
    st.binary(max_size=300),
)


async def _echo(arguments):
    return dict(arguments)


async def _refuse(arguments):
    raise CallerError(Code.BAD_REQUEST, message=f"There is no {''.join(map(str, arguments))}.")


@pytest.fixture
def spoken_to(tmp_path):
    """A function for a service that ends with its example."""

    @contextlib.asynccontextmanager
    async def spoken_to():
        path = tmp_path / "any.sock"
        server = await control.serve(path, {"ping": _pong, "echo": _echo, "refuse": _refuse})
        try:
            yield path
        finally:
            await server.close()

    return spoken_to


@settings(max_examples=150, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(lines, min_size=1, max_size=5))
async def test_any_line_is_answered_with_one_line_and_the_connection_goes_on(spoken_to, asked):
    async with spoken_to() as path:
        reader, writer = await asyncio.open_unix_connection(str(path))
        for line in [one.replace(b"\n", b" ") for one in asked]:
            writer.write(line + b"\n")
            answer = json.loads(await reader.readline())
            assert answer.keys() in ({"answer"}, {"error"})
            assert answer.get("error", {}).get("code") != Code.INTERNAL, line
        writer.write(b'{"op": "ping"}\n')
        assert await reader.readline() == b'{"answer":"pong"}\n'
        writer.close()
        await writer.wait_closed()


@settings(max_examples=100, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), texts))
async def test_any_text_comes_back_as_it_was_sent(spoken_to, arguments):
    async with spoken_to() as path:
        assert await control.Client(path).call("echo", **arguments) == arguments
