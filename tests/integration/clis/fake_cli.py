"""A command-line tool for tests: signs in by a browser and a callback to localhost, as the vendors' do.

`fake_cli.py SCENE`: each scene is a way in which a real tool has behaved or might.
"""

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

HOME = Path(os.environ["HOME"])
AUTH = HOME / ".fake/auth.json"
CREDENTIAL = {"tokens": {"access_token": "DUMMY-access", "refresh_token": "DUMMY-refresh"}}
PAGE = "http://login.vendor-one.com/authorize?state=right"
BROWSER = os.environ["BROWSER"]
got = threading.Event()
seen = threading.Event()


class Callback(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/callback?state=right"):
            self.send_response(302)
            self.send_header("Location", "/success")
            self.end_headers()
            got.set()
            return
        if self.path == "/seen":
            seen.set()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<h1>Signed in</h1>" if self.path == "/success" else b"<h1>No</h1>")

    def log_message(self, *_):
        pass


def by_rename(path, text):
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_suffix(".new")
    temporary.write_text(text)
    temporary.chmod(0o600)
    temporary.rename(path)


def listen_and_open(*opener):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 1455), Callback)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    subprocess.run([*opener, PAGE], check=True)


def sign_in_by_browser(*opener):
    listen_and_open(*opener)
    got.wait()
    by_rename(AUTH, json.dumps(CREDENTIAL))
    by_rename(HOME / ".fake.json", json.dumps({"account": {"email": "person@vendor-one.com"}}))
    time.sleep(0.3)  # the browser fetches /success in this time
    return 1  # as a tool that fails after all: it never matters


def loses_its_browser():
    listen_and_open(BROWSER)
    seen.wait()
    commands = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                commands[int(entry.name)] = (entry / "cmdline").read_bytes()
            except OSError:
                continue
    chromium = [pid for pid, command in commands.items() if command.startswith(b"/usr/lib/chromium/chromium\0")]
    os.kill(min(pid for pid in chromium if b"\0--type=" not in commands[pid]), signal.SIGTERM)
    time.sleep(600)


def quits():
    sys.stdout.write("\x1b[31mno such account\x1b[0m\n")
    return 3


def leaves_a_symlink():
    by_rename(HOME / "elsewhere.json", json.dumps(CREDENTIAL))
    AUTH.symlink_to(HOME / "elsewhere.json")


def leaves_a_file_of(seconds):
    other = AUTH.with_suffix(".other")
    by_rename(other, json.dumps(CREDENTIAL))
    os.utime(other, (seconds, seconds))
    other.rename(AUTH)


def touches_its_file():
    AUTH.touch()
    by_rename(AUTH, AUTH.read_text())


def writes_and_stays():
    AUTH.write_text("")
    AUTH.write_text("{}")
    AUTH.write_text(json.dumps(CREDENTIAL))
    time.sleep(600)


SCENES = {
    "browser": lambda: sign_in_by_browser(BROWSER),
    "xdg-open": lambda: sign_in_by_browser("xdg-open"),
    "loses its browser": loses_its_browser,
    "quits": quits,
    "idles": lambda: time.sleep(600),
    "cut-off": lambda: by_rename(AUTH, json.dumps(CREDENTIAL)[:-8]),
    "huge": lambda: by_rename(AUTH, json.dumps({**CREDENTIAL, "more": "x" * 300_000})),
    "symlink": leaves_a_symlink,
    "touches": touches_its_file,
    "of 1960": lambda: leaves_a_file_of(-315_000_000),
    "of 2001": lambda: leaves_a_file_of(1_000_000_000),
    "of 2100": lambda: leaves_a_file_of(4_102_444_800),
    "of 2400": lambda: leaves_a_file_of(13_569_465_600),
    "writes and stays": writes_and_stays,
}

sys.exit(SCENES[sys.argv[1]]())
