"""Records how the vendors' real tools behave, each in a network namespace with nothing but a loopback in it.

Run as root, after `antechamber providers install`: `python tests/providers/record.py SHARED_DIR [PROVIDER …]`. It
writes `tests/providers/ID/*.json`; secrets in what it feeds the tools are generated and marked DUMMY, and what a tool
itself makes up (state, PKCE, ports, paths) is replaced by a word in angle brackets. Review the difference before you
commit it: that difference is what the vendor changed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from antechamber.providers import CapturedFile, Providers, ProviderSpec
from antechamber.providers.install import node, verify
from antechamber.providers.job import CLI_AT, NODE_AT

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from samples import SAMPLES  # noqa: E402 - a script's own folder

WITHIN_S = 40
OPENER = '#!/bin/sh\nprintf "%s\\n" "$#" "$@" >>"$OPENED"\n'


class Run:
    """One start of a tool in a home and a network namespace of its own."""

    def __init__(self, spec: ProviderSpec, shared: Path, job: dict[str, Any], argv: list[str], home: Path) -> None:
        self.home, self.opened = home, home.parent / "opened"
        bin_folder = home.parent / "bin"
        bin_folder.mkdir()
        for name in ("opener", "xdg-open"):
            (bin_folder / name).write_text(OPENER)
            (bin_folder / name).chmod(0o755)
        for seed in job["seed"]:
            path = home / seed["path"].removeprefix("~/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(seed["content"])
            path.chmod(seed["mode"])
        folders = {CLI_AT: str(verify(spec, shared).folder), NODE_AT: str(node(shared))}
        self.folders = folders
        self.argv = argv
        real = [placed(argument, folders) for argument in argv]
        environment = {
            "PATH": f"{bin_folder}:/usr/bin:/bin",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "BROWSER": str(bin_folder / "opener"),
            "DISPLAY": ":99",
            "OPENED": str(self.opened),
            **job["env"],
        }
        # --kill-child: with the namespace's first process everything in it ends
        inside = ["sh", "-c", 'ip link set lo up && exec "$@"', "sh", *real]
        self.tool = subprocess.Popen(
            ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", *inside],
            cwd=home,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def until(self, fact: Any) -> Any:
        """Wait until the fact is there, or the tool has ended."""
        end = time.monotonic() + WITHIN_S
        while not (found := fact()) and self.tool.poll() is None:
            if time.monotonic() > end:
                message = f"{self.argv}: nothing within {WITHIN_S} s"
                raise SystemExit(message)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.tool.wait(timeout=0.05)
        return found or fact()

    def page(self) -> list[str] | None:
        """Return the opener's arguments, once it has been called."""
        lines = self.opened.read_text().splitlines() if self.opened.exists() else []
        return lines[1:] if lines and len(lines) > int(lines[0]) else None

    def listening(self) -> list[dict[str, Any]]:
        """Return the TCP ports on which something in the namespace listens."""
        inside = subprocess.run(["pgrep", "-P", str(self.tool.pid)], capture_output=True, text=True, check=True)
        target = inside.stdout.split()[0]
        shown = subprocess.run(
            ["nsenter", "--net", "--target", target, "ss", "-Htln"], capture_output=True, text=True, check=True
        )
        pairs = (line.split()[3].rsplit(":", 1) for line in shown.stdout.splitlines())
        return sorted(({"address": address, "port": int(port)} for address, port in pairs), key=str)

    def finish(self, *, kill: bool) -> dict[str, Any]:
        """End the tool if it has to be ended and return what it said."""
        if kill:
            self.tool.send_signal(signal.SIGKILL)
        out, err = self.tool.communicate(timeout=WITHIN_S)
        written = sorted(str(path.relative_to(self.home)) for path in self.home.rglob("*") if path.is_file())
        return {
            "argv": self.argv,
            "code": None if kill else self.tool.returncode,
            "stdout": self.clean(out.decode()),
            "stderr": self.clean(err.decode()),
            "files": [self.clean(name) for name in written],
        }

    def clean(self, text: str) -> str:
        """Replace what differs from run to run."""
        for target, folder in self.folders.items():
            text = text.replace(folder, target)
        text = text.replace(str(self.home), "<HOME>")
        text = re.sub(r"https://\S+", lambda found: sanitised(found.group()), text)
        text = re.sub(r"(localhost|127\.0\.0\.1):(?!1455\b|1457\b)\d{4,5}", r"\1:<PORT>", text)
        text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<UUID>", text)
        text = re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d[:-]\d\d([:-]\d\d)?(\.\d+)?Z?", "<TIME>", text)
        return re.sub(r"(?<=\.backup\.)\d+|(?<=<TIME>-)[0-9a-f]{8}(?=\.jsonl)", "<ID>", text)


def placed(argument: str, folders: dict[str, str]) -> str:
    """Return an argument with the machine's folders replaced by this computer's."""
    for target, folder in folders.items():
        if argument.startswith(f"{target}/"):
            return folder + argument.removeprefix(target)
    return argument


def sanitised(url: str) -> str:
    """Return an address without what a tool makes up for each sign-in."""
    parts = urlsplit(url)
    made_up = {"state": "<STATE>", "code_challenge": "<PKCE>", "nonce": "<NONCE>", "device_id": "<UUID>"}
    query = [(name, made_up.get(name, value)) for name, value in parse_qsl(parts.query)]
    query = [(name, re.sub(r":(?!1455|1457)\d{4,5}", ":<PORT>", value)) for name, value in query]
    return f"{parts.scheme}://{parts.netloc}{parts.path}" + (f"?{urlencode(query, safe='<>:/ ')}" if query else "")


def record_sign_in(spec: ProviderSpec, shared: Path) -> dict[str, Any]:
    """Start a sign-in up to the page that it asks for."""
    job = spec.job()
    with tempfile.TemporaryDirectory(prefix="record-") as scratch:
        home = Path(scratch) / "home"
        home.mkdir()
        run = Run(spec, shared, job, job["argv"], home)
        answers = acp(run, job["drive"]["acp_method"]) if job["drive"]["how"] == "acp" else None
        page = run.until(run.page)
        listening = run.listening()
        said = run.finish(kill=True)
    fixed = set(spec.definition.sign_in.callback.ports)
    return {
        **said,
        "acp": answers,
        "opener": [sanitised(argument) for argument in page],
        "listening": [
            {"address": entry["address"], "port": entry["port"] if entry["port"] in fixed else "<PORT>"}
            for entry in listening
        ],
    }


def acp(run: Run, method: str) -> list[dict[str, Any]]:
    """Do the handshake, up to a request that is answered only when somebody has signed in."""
    assert run.tool.stdin is not None
    assert run.tool.stdout is not None
    initialize = {
        "jsonrpc": "2.0",
        "id": 0,
        "method": "initialize",
        "params": {"protocolVersion": 1, "clientCapabilities": {}},
    }
    run.tool.stdin.write(json.dumps(initialize).encode() + b"\n")
    run.tool.stdin.flush()
    answer = json.loads(run.clean(run.tool.stdout.readline().decode()))
    authenticate = {"jsonrpc": "2.0", "id": 1, "method": "authenticate", "params": {"methodId": method}}
    run.tool.stdin.write(json.dumps(authenticate).encode() + b"\n")
    run.tool.stdin.flush()
    return [{"sent": initialize, "answer": answer}, {"sent": authenticate, "answer": None}]


def record_check(spec: ProviderSpec, shared: Path, files: dict[str, str]) -> dict[str, Any]:
    """Ask the tool whether it accepts these files; they are put in place as they are, whole or not."""
    good = spec.parse({name: CapturedFile(text.encode()) for name, text in SAMPLES[spec.id]["whole"].items()})
    job = spec.check_job(good.bundle)
    paths = {"credential": spec.definition.credential.path}
    for seed in job["seed"]:
        if seed["path"] == paths["credential"]:
            seed["content"] = files["credential"]
    with tempfile.TemporaryDirectory(prefix="record-") as scratch:
        home = Path(scratch) / "home"
        home.mkdir()
        run = Run(spec, shared, job, job["check"]["argv"], home)
        return run.finish(kill=False)


def record(spec: ProviderSpec, shared: Path) -> None:
    """Write all transcripts of one provider."""
    folder = HERE / spec.id
    folder.mkdir(exist_ok=True)
    about = {"provider": spec.id, "version": spec.version, "recorded_on": datetime.now(UTC).date().isoformat()}
    write(folder / "sign_in.json", {**about, **record_sign_in(spec, shared)})
    if spec.definition.check.parse is None:
        cases = {name: record_check(spec, shared, files) for name, files in SAMPLES[spec.id].items()}
        write(folder / "check.json", {**about, "cases": cases})


def write(path: Path, transcript: dict[str, Any]) -> None:
    """Write a transcript so that its differences read well."""
    path.write_text(json.dumps(transcript, indent=2, ensure_ascii=False, sort_keys=True) + "\n")
    sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    if os.geteuid() != 0:
        raise SystemExit("run as root: each tool gets a network namespace of its own")
    providers = Providers.load()
    for wanted in sys.argv[2:] or [spec.id for spec in providers.all()]:
        record(providers.get(wanted), Path(sys.argv[1]))
