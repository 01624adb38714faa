"""Runs in a machine: an X server, Chromium as shipped, and what /proc says of its renderers, as JSON on the link."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

FLAGS = [
    "--no-first-run",
    "--no-default-browser-check",
    "--password-store=basic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--start-maximized",
    "--disable-gpu",
]


def namespaces(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    return {"seccomp": fields["Seccomp"], "depth": len(fields["NSpid"].split())}


def processes():
    for path in pathlib.Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                yield int(path.name), (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue


def wait_for(look, seconds=40):
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            return found
        time.sleep(0.05)
    return found


def renderers():
    found = []
    for pid, line in processes():
        if "--type=renderer" in line:
            try:
                found.append(namespaces(pid))
            except OSError:
                continue
    return found


def main():
    x_socket = pathlib.Path("/tmp/vnc.sock")
    server = subprocess.Popen(
        [
            *("/usr/bin/Xtigervnc", ":0", "-geometry", "640x480", "-depth", "24", "-rfbport", "-1"),
            *("-rfbunixpath", str(x_socket), "-rfbunixmode", "0600", "-SecurityTypes", "None"),
            *("-nolisten", "tcp", "-noreset"),
        ]
    )
    wait_for(x_socket.exists)
    page = "data:text/html,<title>A page</title>hello"
    log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as this program
    browser = subprocess.Popen(
        ["/usr/bin/chromium", *FLAGS, "--user-data-dir=/home/user/profile", page],
        env={**os.environ, "DISPLAY": ":0"},
        stderr=log,
    )
    found = wait_for(lambda: (seen := renderers()) and all(one["seccomp"] == "2" for one in seen) and seen)
    log.seek(0)
    report = {
        "renderers": found or renderers(),
        "browser": namespaces(browser.pid),
        "running": browser.poll() is None,
        "log": log.read()[-3000:].decode(errors="replace"),
        "policy": json.loads(pathlib.Path("/etc/chromium/policies/managed/antechamber.json").read_text()),
    }
    browser.terminate()
    server.terminate()
    with socket.socket(socket.AF_UNIX) as link:
        link.connect("/run/doors/link.sock")
        link.sendall(json.dumps(report).encode())


if __name__ == "__main__":
    sys.exit(main())
