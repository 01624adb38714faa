"""Run a tool with a stored sign-in, print what it writes, and end as it ends: `run_a_tool.py USER TOOL ARGUMENT…`.

Only Python's own library. SERVICE is the dashboard's address, SERVICE_KEY the operator's token or an API key.
"""

import base64
import json
import os
import sys
import time
import urllib.error
import urllib.request

SERVICE, KEY = os.environ["SERVICE"], os.environ["SERVICE_KEY"]
TRIES = 5


def ask(path, body=None, **headers):
    headers = {"Authorization": f"Bearer {KEY}", **headers}
    if body is not None:
        headers["Content-Type"] = "application/json"
    asked = urllib.request.Request(SERVICE + path, None if body is None else json.dumps(body).encode(), headers)
    return urllib.request.urlopen(asked, timeout=60)


def events(answer):
    """Yield (name, id, what is told) of each event; a blank line ends one, a colon at first makes a heartbeat."""
    fields = {}
    for line in answer:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            fields[name] = value
        elif "data" in fields:
            yield fields.get("event"), fields.get("id"), json.loads(fields["data"])
            fields = {}


def read(run):
    """Print what the tool writes; return the end."""
    seen, fruitless = "0", 0
    while fruitless < TRIES:
        try:
            with ask(f"/api/runs/{run}/output", **{"Last-Event-ID": seen}) as answer:
                for name, last, told in events(answer):
                    fruitless = 0
                    if name == "output":
                        seen = last
                        if told["lost"]:
                            print(f"{told['lost']} bytes are missing here.", file=sys.stderr)
                        out = (sys.stdout if told["stream"] == 1 else sys.stderr).buffer
                        out.write(base64.b64decode(told["data"]))
                        out.flush()
                    elif name == "waits":
                        print(f"Number {told['position']} in the line.", file=sys.stderr)
                    elif name == "end":
                        return told
                    elif name == "replaced":
                        return None
        except OSError as error:
            print(f"The line was lost: {error}", file=sys.stderr)
        # a stream that ends without an end is no success: it goes on where it was
        fruitless += 1
        time.sleep(fruitless)
    return None


def main(user, tool, *argv):
    body = {"user_id": user, "provider": tool, "argv": argv}
    if not sys.stdin.isatty():
        body["stdin"] = sys.stdin.read()
    try:
        run = json.load(ask("/api/runs", body))["id"]
    except urllib.error.HTTPError as error:
        told = json.load(error)["error"]
        print(told["message"], told["next"], file=sys.stderr)
        return 125
    end = read(run)
    if end is None or end["exit_code"] is None:
        print(f"It did not come to its end: {end['reason'] if end else 'nobody knows'}.", file=sys.stderr)
        return 125
    return end["exit_code"] if end["exit_code"] >= 0 else 128 - end["exit_code"]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
