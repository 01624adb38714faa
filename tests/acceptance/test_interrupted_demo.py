"""The robot's whole run, interrupted: whatever it has begun by then is cleared away before it ends."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.acceptance import processes

pytestmark = [pytest.mark.machine, pytest.mark.timeout(120)]

ANTECHAMBER = Path(sys.executable).with_name("antechamber")
ENDS_S = 60
BEFORE_ANYTHING, STARTING, WITH_A_SCREEN = "", "the session is there", "painted: the e-mail page"


@pytest.fixture
def folder():
    # short, because sockets' paths are; and machines' uids must be able to pass through
    with tempfile.TemporaryDirectory(prefix="ai-", dir="/tmp") as made:
        Path(made).chmod(0o711)
        (Path(made) / "tmp").mkdir()
        yield Path(made)


@pytest.mark.parametrize("moment", [BEFORE_ANYTHING, STARTING, WITH_A_SCREEN], ids=["at_once", "starting", "screen"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["sigint", "sigterm"])
def test_an_interrupted_robot_leaves_no_machine_no_stand_in_and_no_folder(folder, number, moment):
    run, temporary = folder / "run", folder / "tmp"
    environment = {**os.environ, "TMPDIR": str(temporary), "ANTECHAMBER_RUN_DIR": str(run)}
    command = [ANTECHAMBER, "demo", "--headless", "codex"]
    with subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as robot:
        if moment:
            assert any(moment in line for line in robot.stdout), robot.stderr.read()
        else:
            while not list(temporary.glob("*/data/stand-in")):
                assert robot.poll() is None, robot.stderr.read()
        robot.send_signal(number)
        said, log = robot.communicate(timeout=ENDS_S)

    assert robot.returncode == 128 + number, log
    assert "Traceback" not in said + log, log
    assert list(temporary.iterdir()) == []
    assert not run.exists() or list(run.iterdir()) == []
    assert [process.line for process in processes.everything().values() if str(folder) in process.line] == []
