import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EPOCH = 1_700_000_000


class Build:
    """Builds in folders of its own; in this tier's network namespace npm could not be asked for anything."""

    def __init__(self, folder):
        self._folder = folder
        self._made = 0

    def __call__(self, target, *, source=ROOT, epoch=EPOCH, umask=0o022):
        self._made += 1
        place = self._folder / f"build-{self._made}"
        done = subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", place],
            cwd=source,
            env={**os.environ, "SOURCE_DATE_EPOCH": str(epoch)},
            umask=umask,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        (built,) = place.iterdir()
        return built


@pytest.fixture(scope="session")
def build(tmp_path_factory):
    return Build(tmp_path_factory.mktemp("builds"))


@pytest.fixture(scope="session")
def wheel(build):
    return build("wheel")
