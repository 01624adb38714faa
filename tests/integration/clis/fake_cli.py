"""A command-line tool for tests: signs in by a browser and a callback to localhost, as the vendors' do.

`fake_cli.py SCENE`: each scene is a way in which a real tool has behaved or might.
"""

import http.server
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

HOME = Path(os.environ["HOME"])
CREDENTIAL = {"tokens": {"access_token": "DUMMY-access", "refresh_token": "DUMMY-refresh"}}
got = threading.Event()


class Callback(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/callback?state=right"):
            self.send_response(302)
            self.send_header("Location", "/success")
            self.end_headers()
            got.set()
        else:
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


def sign_in_by_browser(opener):
    server = http.server.HTTPServer(("127.0.0.1", 1455), Callback)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    subprocess.run([*opener, "http://login.vendor-one.com/authorize?state=right"], check=True)
    got.wait()
    by_rename(HOME / ".fake/auth.json", json.dumps(CREDENTIAL))
    by_rename(HOME / ".fake.json", json.dumps({"account": {"email": "person@vendor-one.com"}}))
    time.sleep(0.3)  # the browser fetches /success in this time
    return 1  # as a tool that fails after all: it never matters


def scene(name):
    auth = HOME / ".fake/auth.json"
    if name == "browser":
        return sign_in_by_browser([os.environ["BROWSER"]])
    if name == "xdg-open":
        return sign_in_by_browser(["xdg-open"])
    if name == "quits":
        sys.stdout.write("\x1b[31mno such account\x1b[0m\n")
        return 3
    if name == "idles":
        time.sleep(600)
    if name == "cut-off":
        by_rename(auth, json.dumps(CREDENTIAL)[:-8])
    if name == "huge":
        by_rename(auth, json.dumps({**CREDENTIAL, "more": "x" * 300_000}))
    if name == "symlink":
        by_rename(HOME / "elsewhere.json", json.dumps(CREDENTIAL))
        auth.symlink_to(HOME / "elsewhere.json")
    if name == "stale":
        by_rename(auth.with_suffix(".tmp"), json.dumps(CREDENTIAL))
        os.utime(auth.with_suffix(".tmp"), (1_000_000_000, 1_000_000_000))
        auth.with_suffix(".tmp").rename(auth)
    if name == "writes and stays":
        auth.write_text("")
        with auth.open("w") as file:
            file.write("{}")
        auth.write_text(json.dumps(CREDENTIAL))
        time.sleep(600)
    return 0


sys.exit(scene(sys.argv[1]))
