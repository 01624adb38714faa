"""Ask for a sign-in, give its link to the person, and wait until it has ended: `application.py USER PROVIDER`.

Needs SERVICE_URL, such as http://127.0.0.1:8700, and SERVICE_TOKEN, the operator's token; the standard library
is enough. docs/tutorial.md leads here.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request

BASE, TOKEN = os.environ.get("SERVICE_URL"), os.environ.get("SERVICE_TOKEN")
if not (BASE and TOKEN and len(sys.argv) == 3):
    sys.exit("Use: SERVICE_URL=… SERVICE_TOKEN=… application.py USER PROVIDER")
HEADERS = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}


def ask(path, body=None, **headers):
    sent = None if body is None else json.dumps(body).encode()
    try:
        return urllib.request.urlopen(urllib.request.Request(BASE + path, sent, HEADERS | headers), timeout=120)
    except urllib.error.HTTPError as answer:
        error = json.load(answer)["error"]  # an answer, and no break: it says what to do
        sys.exit(f"{error['message']} {error['next']} ({error['code']})")


def follow(session_id):
    """Print each event as it happens, and come back after a break, until the session has ended."""
    last = {}
    while True:
        try:
            with ask(f"/api/auth/session/{session_id}/events", **last) as stream:
                if stream.status == 204:  # it had ended with the last event
                    return
                for line in map(bytes.decode, stream):
                    if line.startswith("id: "):
                        last = {"Last-Event-ID": line[4:].strip()}
                    elif line.startswith("event: end"):
                        return
                    elif line.startswith('data: {"seq"'):
                        event = json.loads(line[6:])
                        print(f"  {event['at'][11:19]}  {event['kind']}", flush=True)
        except OSError:
            time.sleep(1)


user, provider = sys.argv[1:]
with ask("/api/auth/session", {"user_id": user, "provider": provider, "purpose": "the tutorial"}) as answer:
    started = json.load(answer)
print(f"Open this link: {started['sign_in_url']}", flush=True)
follow(started["session_id"])
with ask(f"/api/auth/session/{started['session_id']}/credentials") as answer:
    result = json.load(answer)
if result["status"] != "ready":
    sys.exit(f"It came to nothing: {result['reason']}")
stored = result["credential"]
print(f"Signed in as {stored['account']}, plan {stored['plan']}: {stored['id']}")
