import subprocess
from pathlib import Path

import pytest
from scripts.clean_room import base, client_settings, second_run

ROOT = Path(__file__).parents[2]


@pytest.fixture
def sources(tmp_path):
    """Write files as they lie in /etc/apt, and return the paragraphs that a room would get."""
    (tmp_path / "sources.list.d").mkdir()

    def read(**files):
        for name, text in files.items():
            (tmp_path / name.replace("__", "/").replace("_", ".")).write_text(text)
        return client_settings._debian_sources(tmp_path)

    return read


def test_of_a_sources_file_the_suites_of_debian_12_are_taken_with_their_key(sources):
    found = sources(
        sources_list_d__debian_sources=(
            "Types: deb\n# a remark\nURIs: http://one.invalid/debian\nSuites: bookworm bookworm-updates trixie\n"
            "Components: main contrib\nSigned-By: /usr/share/keyrings/one.gpg\n\n"
            "Types: deb-src\nURIs: http://one.invalid/debian\nSuites: bookworm\nComponents: main\n\n"
            "Types: deb\nEnabled: no\nURIs: http://two.invalid/debian\nSuites: bookworm\nComponents: main\n"
        )
    )

    assert found == [
        (
            "Types: deb\nURIs: http://one.invalid/debian\nSuites: bookworm bookworm-updates\nComponents: main\n"
            "Signed-By: /usr/share/keyrings/one.gpg\n"
        )
    ]


def test_of_one_line_sources_too_and_other_vendors_stay_outside(sources):
    found = sources(
        sources_list=(
            "# deb http://off.invalid/debian bookworm main\n"
            "deb [arch=amd64 signed-by=/usr/share/keyrings/one.gpg] http://one.invalid/debian bookworm main\n"
            "deb http://one.invalid/security bookworm-security main\n"
        ),
        sources_list_d__vendor_list="deb http://vendor.invalid/apt tools-bookworm main\n",
        sources_list_d__node_sources="Types: deb\nURIs: http://node.invalid/node\nSuites: nodistro\nComponents: main\n",
    )

    assert [paragraph.splitlines()[1] for paragraph in found] == [
        "URIs: http://one.invalid/debian",
        "URIs: http://one.invalid/security",
    ]
    assert "Signed-By: /usr/share/keyrings/one.gpg" in found[0]


def test_a_computer_without_a_source_of_debian_12_is_told_so():
    nothing = client_settings.ClientSettings("", "", {}, Path("/"), (), ())

    with pytest.raises(base.NoBase, match="bookworm"):
        base.tarball(nothing)


def test_only_what_package_clients_read_is_taken_from_the_environment(monkeypatch):
    for name in ("PIP_CERT", "npm_config_cafile", "https_proxy", "NO_PROXY", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, "DUMMY")
    for name in ("PIPE", "A_TOKEN", "SOME_PIP_CERT", "NODE_OPTIONS", "PYTHONPATH"):
        monkeypatch.setenv(name, "DUMMY")

    given = client_settings.of_this_computer().environment

    assert {"PIP_CERT", "npm_config_cafile", "https_proxy", "NO_PROXY", "SSL_CERT_FILE"} <= set(given)
    assert {"PIPE", "A_TOKEN", "SOME_PIP_CERT", "NODE_OPTIONS", "PYTHONPATH"} & set(given) == set()


def test_a_room_gets_files_where_they_were_and_a_home_of_the_same_words(tmp_path):
    home, root = tmp_path / "home", tmp_path / "root"
    (home / ".config" / "pip").mkdir(parents=True)
    (home / ".config" / "pip" / "pip.conf").write_text("[global]\n")
    authority = tmp_path / "authorities" / "one.crt"
    authority.parent.mkdir()
    authority.write_text("DUMMY")
    (root / "etc/apt/sources.list.d").mkdir(parents=True)
    (root / "etc/apt/apt.conf.d").mkdir()
    (root / "etc/apt/sources.list.d/0000debian.sources").write_text("Types: deb\n")
    (root / "etc/apt/sources.list").write_text("deb http://the.invalid/one bookworm main\n")

    client_settings.ClientSettings("Types: deb\n", "A;\n", {}, home, (), (authority,)).write(root)

    assert (root / authority.relative_to("/")).read_text() == "DUMMY"
    assert (root / "root/.config/pip/pip.conf").read_text() == "[global]\n"
    assert not (root / "etc/apt/sources.list").exists()
    (only,) = (root / "etc/apt/sources.list.d").iterdir()
    assert (only.name, only.read_text()) == ("clean-room.sources", "Types: deb\n")


def test_the_readme_asks_for_what_a_room_begins_with():
    first = next(
        line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("    apt-get install")
    )

    assert [*first.partition("#")[0].split()[2:], "sudo"] == list(base.PACKAGES)


@pytest.mark.parametrize("name", ["enter.sh", "step.sh", "work.sh"])
def test_the_shell_can_read(name):
    read = subprocess.run(
        ["sh", "-n", ROOT / "scripts" / "clean_room" / name], capture_output=True, text=True, check=False
    )

    assert (read.returncode, read.stderr) == (0, "")


@pytest.mark.parametrize(
    ("limit", "command", "verdict"),
    [
        ("60", "true", "passed"),
        ("60", "false", "FAILED"),
        ("0.1", "sleep 600", "FAILED: not done in 0.1 s"),
    ],
)
def test_a_step_of_a_room_has_a_time_of_its_own(tmp_path, limit, command, verdict):
    program = (
        f". {ROOT}/scripts/clean_room/step.sh; account=root failed=0 RESULTS={tmp_path}/results;"
        f"do_it() {{ limited {command}; }}; step one {limit} do_it; exit $failed"
    )

    ended = subprocess.run(["sh", "-uc", program], capture_output=True, check=False, timeout=60).returncode

    (line,) = (tmp_path / "results").read_text().splitlines()
    assert (line.split("\t")[0], line.split("\t")[2], ended) == ("one", verdict, int(verdict != "passed"))


@pytest.mark.parametrize(
    ("median", "word", "code"), [(1.8, "within", 0), (3.0, "within", 0), (3.1, "OVER", 0), (12.1, "FAR OVER", 1)]
)
def test_a_second_run_fails_only_far_above_its_time(median, word, code):
    assert second_run.verdict(median) == (word, code)
