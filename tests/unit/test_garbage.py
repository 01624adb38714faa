"""When garbage is looked for; each in an interpreter of its own, as the numbers are a whole program's."""

from __future__ import annotations

import subprocess
import sys


def said(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_start_is_left_in_peace_and_what_it_made_is_never_looked_through_again():
    program = (
        "import gc; from antechamber import garbage; usual = gc.get_threshold(); garbage.starting();"
        "least = gc.get_threshold()[0]; garbage.started();"
        "print(least > 100 * usual[0], gc.get_threshold() == usual, gc.get_freeze_count() > 1000)"
    )
    assert said(program) == "True True True"


def test_a_program_with_numbers_of_its_own_keeps_them():
    program = (
        "import gc; from antechamber import garbage; gc.set_threshold(5000); garbage.started();"
        "print(gc.get_threshold()[0], gc.get_freeze_count())"
    )
    assert said(program) == "5000 0"


def test_the_program_is_started_so_and_loads_nothing_before():
    program = (
        "import gc, sys; from antechamber import __main__, garbage; early = 'antechamber.cli' in sys.modules;"
        "sys.argv = ['antechamber', '--version']; sys.excepthook = lambda *_: None\n"
        "try: __main__.main()\n"
        "except SystemExit: print(early, gc.get_threshold()[0] == garbage._STARTING)"
    )
    assert said(program).splitlines()[-1] == "False True"
