"""The keeper's launch is out of the reach of a Ctrl-C at the service's terminal."""

import os
import subprocess
from pathlib import Path

from antechamber.drivers import keepers
from antechamber.drivers.keepers import KeptFolder


def test_the_launch_is_in_a_session_of_its_own(tmp_path, monkeypatch):
    launched = []
    run = subprocess.run

    def remember(argv, **options):
        noted = tmp_path / "session"
        done = run(["/bin/sh", "-c", f"cut -d' ' -f6 /proc/$$/stat > {noted}"], **options)
        launched.append(int(noted.read_text()))
        return done

    monkeypatch.setattr(keepers.subprocess, "run", remember)
    keepers._spawn(KeptFolder(Path(tmp_path)), ())

    assert launched
    assert launched[0] != os.getsid(0)
