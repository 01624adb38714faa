import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from antechamber import debian
from antechamber.errors import OperatorError

ROOT = Path(__file__).parents[2]
INSTALLED = "ca-certificates chromium openbox uidmap"


class Debian:
    """A computer whose dpkg-query, apt-get and sudo are programs of the test's, which note how they were called."""

    def __init__(self, folder):
        self.path = folder / "bin"
        self.path.mkdir()
        self._noted = folder / "noted"
        self._installed = folder / "installed"
        self.has(INSTALLED)
        note = f'echo "$(basename "$0") $*" >> {self._noted}'
        self.program("dpkg-query", f'cat {self._installed}; echo "dpkg-query: no packages found" >&2; exit 1')
        self.program("apt-get", f"{note}; cat > /dev/null; exit $(cat {folder}/ends 2> /dev/null || echo 0)")
        self.program("sudo", f'{note}; exec "$@"')

    def program(self, name, script):
        (self.path / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.path / name).chmod(0o755)

    def has(self, names):
        rows = [f"installed {name}" for name in names.split()]
        self._installed.write_text("\n".join([*rows, "config-files bubblewrap", "not-installed iproute2", ""]))

    def ends_with(self, code):
        (self._installed.parent / "ends").write_text(str(code))

    @property
    def calls(self):
        return self._noted.read_text().splitlines() if self._noted.exists() else []

    @property
    def environment(self):
        home = self._installed.parent
        # nothing of this computer's own programs is found but what a script needs
        return {"PATH": f"{self.path}:/usr/bin:/bin", "HOME": str(home), "XDG_DATA_HOME": str(home / "d"), "LANG": "C"}

    def doctor(self, *words, **how):
        command = [sys.executable, "-c", "from antechamber.cli import main; main()", "doctor", *words]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False, timeout=60, **how
        )


@pytest.fixture
def computer(tmp_path, monkeypatch):
    made = Debian(tmp_path)
    monkeypatch.setenv("PATH", made.environment["PATH"])
    return made


def missing_of(names):
    return [name for name in debian.packages() if name not in names.split()]


def test_the_list_has_each_package_once_and_only_names():
    names = debian.packages()

    assert len(set(names)) == len(names) > 10
    assert all(name == name.strip() and " " not in name for name in names)


def test_a_package_that_was_removed_or_never_there_is_missing(computer):
    missing = debian.missing()

    assert list(missing) == missing_of(INSTALLED)
    assert {"bubblewrap", "iproute2"} <= set(missing)


def test_a_package_of_a_named_architecture_is_there(computer):
    computer.has(" ".join(["libseccomp2:amd64", *debian.packages()]))

    assert debian.missing() == ()


def test_a_computer_without_dpkg_is_told_what_to_bring(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(OperatorError) as raised:
        debian.missing()

    assert "bubblewrap" in raised.value.next


def test_what_is_missing_is_installed_without_what_is_only_recommended(computer):
    debian.install(["openbox", "uidmap"])

    calls = [call for call in computer.calls if call.startswith("apt-get")]
    assert calls == ["apt-get update -qq", "apt-get install --yes --no-install-recommends -qq openbox uidmap"]
    assert any(call.startswith("sudo ") for call in computer.calls) is (os.geteuid() != 0)


def test_an_apt_that_fails_is_told_with_its_code(computer):
    computer.ends_with(100)

    with pytest.raises(OperatorError, match="update ended with code 100"):
        debian.install(["openbox"])


def test_nobody_is_asked_where_nobody_can_answer_and_nothing_is_installed(computer):
    said = computer.doctor("--install", stdin=subprocess.DEVNULL)

    assert said.returncode == 1
    assert "apt-get install --yes --no-install-recommends" in said.stderr
    assert "Nobody can be asked here" in said.stderr
    assert computer.calls == []


def test_yes_installs_without_asking(computer):
    said = computer.doctor("--install", "--yes", stdin=subprocess.DEVNULL)

    assert f"Missing: {', '.join(missing_of(INSTALLED))}." in said.stderr
    assert f"apt-get install --yes --no-install-recommends -qq {' '.join(missing_of(INSTALLED))}" in computer.calls
    assert "certificates" in said.stdout, "the examination follows"


def test_nothing_is_installed_when_nothing_is_missing(computer):
    computer.has(" ".join(debian.packages()))

    said = computer.doctor("--install", stdin=subprocess.DEVNULL)

    assert "No package of Debian's is missing." in said.stderr
    assert computer.calls == []


def test_yes_alone_is_refused(computer):
    assert computer.doctor("--yes", stdin=subprocess.DEVNULL).returncode == 2


@pytest.mark.parametrize(("answer", "installs"), [("n\n", False), ("\n", False), ("y\n", True)])
def test_a_person_is_asked_once_and_only_yes_installs(computer, answer, installs):
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answer.encode())
        said = computer.doctor("--install", stdin=theirs)
    finally:
        os.close(ours)
        os.close(theirs)

    assert "Install them with this line? [y/N]" in said.stderr
    assert bool(computer.calls) is installs
    if not installs:
        assert said.returncode == 1


def test_f079f_the_script_for_make_reads_the_same_list(computer):
    script = ROOT / "scripts" / "system-packages"

    done = subprocess.run(
        ["sh", script], env=computer.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )

    assert done.stdout.split()[0] == "installing:"
    assert done.stdout.split()[1:] == missing_of(INSTALLED)


@pytest.mark.parametrize("said_before", [False, True])
def test_debians_postgresql_is_told_to_start_no_server_before_it_comes(computer, said_before):
    note = f"""echo "$(basename "$0") $*" >> {computer.path.parent / "noted"}"""
    computer.program("grep", f"exit {0 if said_before else 1}")
    computer.program("mkdir", note)
    computer.program("tee", f"{note}; cat >> {computer.path.parent / 'noted'}")

    subprocess.run(
        ["sh", ROOT / "scripts" / "system-packages", ROOT / "tests" / "debian-packages.txt"],
        env=computer.environment,
        stdin=subprocess.DEVNULL,
        check=True,
    )

    calls = [call for call in computer.calls if not call.startswith("sudo")]
    told = [
        "mkdir -p /etc/postgresql-common",
        "tee -a /etc/postgresql-common/createcluster.conf",
        "create_main_cluster = false",
    ]
    assert calls[:-2] == ([] if said_before else told)
    assert calls[-1].startswith("apt-get install ")
    assert "postgresql" in calls[-1].split()
