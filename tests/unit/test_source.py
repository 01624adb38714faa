"""What holds of the source as a whole."""

from __future__ import annotations

import ast
import base64
import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import antechamber
from antechamber.providers import Providers

PACKAGE = Path(antechamber.__file__).parent
ROOT = Path(__file__).parents[2]
MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if "static" not in path.parts]
SHELLS = {"sh", "bash", "dash", "zsh", "/bin/sh", "/bin/bash", "/usr/bin/env"}
SHELL_CALLS = {"system", "popen", "create_subprocess_shell", "getoutput", "getstatusoutput"}


def trees():
    return [(path, ast.parse(path.read_text())) for path in MODULES]


def docstrings(tree):
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return {id(node.body[0].value) for node in ast.walk(tree) if isinstance(node, owners) and ast.get_docstring(node)}


def texts(tree):
    """Return the texts in a module's code, its documentation aside."""
    told = docstrings(tree)
    constants = [node for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return [node.value for node in constants if isinstance(node.value, str) and id(node) not in told]


def test_f035_no_code_names_a_file_of_a_vendor():
    named = {path for spec in Providers.load().all() for path in spec_paths(spec)}
    assert {"~/.codex/auth.json", "~/.claude/.credentials.json", "~/.gemini/oauth_creds.json"} <= named
    wanted = {Path(path).name for path in named} | {path.removeprefix("~/") for path in named}
    found = [
        (path.relative_to(PACKAGE).as_posix(), text)
        for path, tree in trees()
        if "standin" not in path.parts
        for text in texts(tree)
        for word in wanted
        if re.search(rf"(?<![\w.]){re.escape(word)}\b", text)
    ]
    assert found == []


def spec_paths(spec):
    return [file["path"] for file in spec.job()["files"].values()]


def shelled(tree):
    """Return the line of each place where a program is started through a shell."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            shell = [word.value for word in node.keywords if word.arg == "shell"]
            if name in SHELL_CALLS or any(not isinstance(one, ast.Constant) or one.value for one in shell):
                found.append(node.lineno)
        # a shell that is started with a text of its own that has values put into it
        if isinstance(node, ast.List | ast.Tuple) and any(map(is_shell, node.elts)):
            found += [part.lineno for part in node.elts if isinstance(part, ast.JoinedStr | ast.BinOp)]
    return found


def is_shell(node):
    return isinstance(node, ast.Constant) and node.value in SHELLS


@pytest.mark.parametrize(
    "source",
    [
        'os.system(f"claude {prompt}")',
        'subprocess.run("codex " + prompt, shell=True)',
        "subprocess.run(argv, shell=wanted)",
        "await asyncio.create_subprocess_shell(line)",
        'start(["/bin/sh", "-c", f"codex exec {prompt}"])',
    ],
)
def test_each_way_through_a_shell_is_seen(source):
    assert shelled(ast.parse(source)) == [1]


def test_f111_no_program_is_started_through_a_shell():
    assert {path.name: lines for path, tree in trees() if (lines := shelled(tree))} == {}


IMPORTS = """
import importlib, os, pathlib, sys, threading
before = set(os.listdir("/proc/self/fd"))
sys.addaudithook(lambda event, told: seen.append((event, told[0])) if watched(event, told) else None)
seen = []
def watched(event, told):
    if event == "open" and isinstance(told[0], (str, bytes)):
        return bool(told[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) and os.fsdecode(told[0]) != os.devnull
    return event in {"socket.connect", "socket.bind", "sqlite3.connect", "subprocess.Popen", "os.mkdir"}
for name in sys.argv[1:]:
    importlib.import_module(name)
assert not seen, seen
assert threading.active_count() == 1, threading.enumerate()
assert not list(pathlib.Path.cwd().iterdir())
"""


def test_f091b_importing_a_module_opens_starts_and_writes_nothing(tmp_path):
    names = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in MODULES]
    # a migration is run by its library, a program by whoever calls it
    names = [name.removesuffix(".__init__") for name in names if "__main__" not in name and "migrations" not in name]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", IMPORTS, *names],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert len(names) > 80


TOKENS = {
    "a JSON web token": r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
    "a key of Anthropic's or OpenAI's": r"\bsk-[A-Za-z0-9_-]{20,}",
    "a token of Google's": r"\bya29\.[A-Za-z0-9_-]{20,}|\b1//0[A-Za-z0-9_-]{20,}|\bAIza[A-Za-z0-9_-]{30,}",
    "a client secret of Google's": r"\bGOCSPX-[A-Za-z0-9_-]{20,}",
    "a token of GitHub's": r"\bgh[opsu]_[A-Za-z0-9]{30,}|\bgithub_pat_[A-Za-z0-9_]{30,}",
    "a token of Slack's": r"\bxox[abp]-[A-Za-z0-9-]{20,}",
    "a key of Amazon's": r"\bAKIA[A-Z0-9]{16}\b",
    "a private key": r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\s+[A-Za-z0-9+/=\s]{64,}",
    "a password in an address": r"\b[a-z][a-z0-9+]*://[^/\s:@\"'`{}<>$]+:[^/\s@\"'`{}<>$]{6,}@[\w.-]+",
}
_SECRET = re.compile("|".join(f"(?:{pattern})" for pattern in TOKENS.values()))
LARGEST = 2 * 2**20


def secrets_in(text):
    """Return what looks like a secret and does not say that it is made up."""
    return [found for found in _SECRET.findall(text) if "DUMMY" not in found + "".join(map(unpacked, found.split(".")))]


def unpacked(part):
    """Return what a part of a web token says."""
    with contextlib.suppress(ValueError):
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode("latin-1")
    return ""


@pytest.mark.parametrize(
    "secret",
    [
        "sk-" + "ant-oat01-" + "a1B2" * 8,
        "ya29." + "a0B1" * 8,
        "GOCSPX" + "-" + "a0B1c2" * 4,
        "ghp" + "_" + "a0B1c2" * 6,
        "https://ada:" + "hunter22" + "@example.com/",
        "eyJ" + "a" * 20 + ".eyJ" + "b" * 20 + "." + "c" * 20,
        "-----BEGIN " + "PRIVATE KEY-----\n" + "MIIEvQIBADANBgkq" * 8,
    ],
)
def test_what_looks_like_a_secret_is_found(secret):
    assert secrets_in(f"x = '{secret}'")


def repository():
    """Return each file of the repository; outside of one, what lies here."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no repository")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [ROOT / os.fsdecode(name) for name in listed.split(b"\0") if name]


def test_f045_the_repository_holds_no_secret_that_is_not_marked_as_made_up():
    found, looked = {}, 0
    for path in repository():
        if not path.is_file() or path.stat().st_size > LARGEST:
            continue
        looked += 1
        if told := secrets_in(path.read_bytes().decode("utf-8", "replace")):
            found[path.relative_to(ROOT).as_posix()] = told
    assert looked > 300
    assert found == {}


def test_what_is_sealed_is_asked_for_on_record_alone():
    asking = {"sealed", "unseal"}
    found = {
        (path.relative_to(PACKAGE).as_posix(), node.attr)
        for path, tree in trees()
        if "store" not in path.parts
        for node in ast.walk(tree)
        # called or handed on to be called
        if isinstance(node, ast.Attribute) and node.attr in asking
    }
    # the one place, which has the audit's line first
    assert found == {("opening.py", "unseal")}
