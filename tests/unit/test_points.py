"""The instants at which a test kills the service: in an ordinary one they do nothing, and nothing can change that."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import antechamber
from antechamber.points import Point

PACKAGE = Path(antechamber.__file__).parent


def calls(name):
    """Give (file, call) of every call of that function in the package."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == name:
                yield path.relative_to(PACKAGE).as_posix(), node


def test_nothing_in_the_package_arms_a_point():
    assert list(calls("arm")) == []


def test_each_point_is_passed_at_some_place_and_none_is_unknown():
    passed = [ast.unparse(call.args[0]) for _, call in calls("point")]
    assert sorted(set(passed)) == sorted(f"Point.{point.name}" for point in Point)


def test_a_point_does_nothing_whatever_the_environment_says():
    program = (
        "from antechamber import points\n"
        "for one in points.Point: points.point(one)\n"
        "points.arm(lambda passed: print(passed, flush=True))\n"
        "points.point(points.Point.CAPTURED)\n"
    )
    tempting = {f"ANTECHAMBER_{name}": "captured" for name in ("POINT", "POINTS", "ARM", "CRASH", "KILL", "DIES_AT")}
    ran = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **tempting}, capture_output=True, text=True, check=True
    )
    assert ran.stdout == "captured\n"
