"""What the pages take from npm, as make asks for it."""

import shutil
import subprocess
import sys
from pathlib import Path

WEB = Path(__file__).parents[2] / "web"


def test_an_npm_that_fails_is_a_sentence_with_a_next_step_and_no_traceback(tmp_path):
    shutil.copytree(WEB, tmp_path / "web", ignore=shutil.ignore_patterns("node_modules"))
    beside = tmp_path / "bin"
    beside.mkdir()
    (beside / "python").symlink_to(sys.executable)
    npm = beside / "npm"
    npm.write_text("#!/bin/sh\necho npm error SELF_SIGNED_CERT_IN_CHAIN >&2\nexit 1\n")
    npm.chmod(0o755)

    ran = subprocess.run(
        [beside / "python", "web/vendor.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert ran.returncode == 1
    assert ran.stderr.splitlines()[0] == "npm error SELF_SIGNED_CERT_IN_CHAIN"
    assert "NODE_EXTRA_CA_CERTS" in ran.stderr
    assert "Traceback" not in ran.stderr
