"""A workspace in a real machine: read as it is now, never written to, and no way to anything else of the host's."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest

from antechamber.machine import Mount
from antechamber.workspaces import AT

TRIES = f"""
import json, os, socket, stat
def tried(do):
    try:
        return do() or "done"
    except OSError as error:
        return os.strerror(error.errno)
told = {{
    "read": tried(lambda: open("{AT}/note").read()),
    "write": tried(lambda: open("{AT}/note", "a").close()),
    "make": tried(lambda: open("{AT}/new", "w").close()),
    "remove": tried(lambda: os.unlink("{AT}/note")),
    "rename": tried(lambda: os.rename("{AT}/note", "{AT}/other")),
    "chmod": tried(lambda: os.chmod("{AT}/note", 0o777)),
    "out": tried(lambda: open("{AT}/out").read()),
    "flags": os.statvfs("{AT}").f_flag,
}}
with socket.socket(socket.AF_UNIX) as link:
    link.connect("/run/doors/link.sock")
    link.sendall(json.dumps(told).encode())
"""


@pytest.mark.machine
async def test_a_workspace_is_read_and_nothing_of_it_is_changed_whatever_its_files_allow(bench):
    with tempfile.TemporaryDirectory(prefix="workspaces-", dir="/tmp") as made:
        root, folder = Path(made), Path(made, "site")
        folder.mkdir()
        (root / "secret").write_text("DUMMY of the host")
        (folder / "note").write_text("DUMMY words")
        (folder / "out").symlink_to(root / "secret")
        for one in (root, folder, folder / "note", root / "secret"):
            one.chmod(0o777)
        machine = await bench.start(program=("/usr/bin/python3", "-I", "-c", TRIES), mounts=(Mount(folder, AT),))
        told = json.loads(await bench.said(machine, within=60))
        flags = told.pop("flags")
        refused = dict.fromkeys(("write", "make", "remove", "rename", "chmod"), os.strerror(30))
        assert told == {"read": "DUMMY words", "out": os.strerror(2), **refused}
        assert flags & os.ST_RDONLY
        assert flags & os.ST_NOSUID
        assert flags & os.ST_NODEV
        assert {one.name for one in folder.iterdir()} == {"note", "out"}
