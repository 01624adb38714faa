"""What `make lint` would say of mistakes that once stopped everything."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUFF = shutil.which("ruff", path=Path(sys.executable).parent)


def said_by(*argv, given=None):
    ran = subprocess.run(argv, cwd=ROOT, input=given, capture_output=True, text=True, check=False)
    return ran.returncode, ran.stdout + ran.stderr


@pytest.mark.parametrize(
    "folder", ["src/antechamber", "src/antechamber/guest", "tests/unit", "bench", "scripts/clean_room"]
)
def test_f091a_a_name_that_nobody_defines_does_not_pass(folder):
    check = [RUFF, "check", "--no-cache", "--output-format=concise", f"--stdin-filename={folder}/x.py", "-"]
    code, said = said_by(*check, given='"""A file."""\n\nVALUE = removed_elsewhere\n')
    assert code == 1
    assert "F821" in said


def test_f091c_a_member_that_an_object_does_not_have_does_not_pass(tmp_path):
    (tmp_path / "asks.py").write_text(
        "from antechamber.model import Owner\n\n\ndef client_of(owner: Owner) -> str:\n    return owner.client\n"
    )
    mypy = [sys.executable, "-m", "mypy", f"--config-file={ROOT / 'pyproject.toml'}", f"--cache-dir={tmp_path / 'c'}"]
    code, said = said_by(*mypy, "--follow-imports=silent", str(tmp_path / "asks.py"))
    assert code == 1
    assert '"Owner" has no attribute "client"' in said
