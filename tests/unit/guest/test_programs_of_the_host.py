"""Every program of the host that the guest starts comes with a package that is installed with Antechamber."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import antechamber.guest
from antechamber import debian

GUEST = Path(antechamber.guest.__file__).parent


def started_by_the_guest():
    """Return each program of the host that the guest's code starts: a list of words, the first of them a name."""
    found = set()
    for path in GUEST.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            words = node.elts if isinstance(node, ast.Tuple | ast.List) and len(node.elts) > 1 else []
            name = words[0].value if words and isinstance(words[0], ast.Constant) else None
            if isinstance(name, str) and re.fullmatch(r"[\w./-]*\w", name) and is_option(words[1]):
                found.add(name)
    return found


def is_option(word):
    start = word.values[0] if isinstance(word, ast.JoinedStr) else word
    return isinstance(start, ast.Constant) and isinstance(start.value, str) and start.value[:1] in {"-", ":"}


def packages_of(program):
    """Return the packages of Debian that have the program."""
    path = shutil.which(program)
    assert path is not None, f"{program} is not installed"
    # an alternative's name belongs to no package, what it leads to does
    told = subprocess.run(["dpkg", "-S", Path(path).resolve()], capture_output=True, text=True, check=False).stdout
    return {line.partition(":")[0] for line in told.splitlines()}


def test_f079_each_program_of_the_host_that_the_guest_starts_comes_with_a_package_that_is_asked_for():
    if shutil.which("dpkg") is None:
        pytest.skip("this is no Debian")
    started = started_by_the_guest()
    assert {"Xtigervnc", "openbox", "/usr/bin/chromium"} <= started
    asked_for = set(debian.packages())
    assert {program: found for program in started if not (found := packages_of(program)) & asked_for} == {}
