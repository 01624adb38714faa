import os
import subprocess
import sys
import zipfile
from email.parser import BytesParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import antechamber

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "antechamber"


def names(wheel):
    with zipfile.ZipFile(wheel) as packed:
        return set(packed.namelist())


def metadata(wheel):
    with zipfile.ZipFile(wheel) as packed:
        (name,) = (name for name in packed.namelist() if name.endswith(".dist-info/METADATA"))
        return BytesParser().parsebytes(packed.read(name))


def test_f091i_what_is_tested_is_what_make_said():
    where = Path(antechamber.__file__).parent

    if os.environ.get("TESTED") == "wheel":
        assert where.parent.name == "site-packages"
        assert where.is_relative_to(sys.prefix)
    else:
        assert where == PACKAGE


def test_two_builds_have_the_same_bytes(build, wheel):
    again = build("wheel", umask=0o077)

    assert again.read_bytes() == wheel.read_bytes()


def test_the_source_distribution_builds_the_same_wheel_without_asking_npm(build, wheel, tmp_path):
    subprocess.run(["tar", "--extract", "--file", build("sdist"), "--directory", tmp_path], check=True)
    (source,) = tmp_path.iterdir()

    again = build("wheel", source=source)

    assert not (source / "web" / "node_modules").exists()
    assert again.read_bytes() == wheel.read_bytes()


def test_a_file_carries_the_date_that_was_asked_for(build):
    one, other = (build("wheel", epoch=epoch).read_bytes() for epoch in (1_600_000_000, 1_700_000_000))

    assert one != other


def test_f091d_the_wheel_holds_every_file_that_the_repository_holds_of_the_package(wheel):
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "src/antechamber"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    tracked = {name.removeprefix("src/") for name in listed.split("\0") if name and (ROOT / name).exists()}

    assert tracked - names(wheel) == set()


def test_the_wheel_holds_what_the_pages_take_from_npm_with_its_licences(wheel):
    vendored = PACKAGE / "web" / "static" / "vendor"
    files = {str(path.relative_to(PACKAGE.parent)) for path in vendored.rglob("*") if path.is_file()}
    packed = {name for name in names(wheel) if "/static/vendor/" in name}

    assert packed == files
    assert {"LICENSE.MPL-2.0", "LICENSE.txt", "AUTHORS", "core/rfb.js", "vendor/pako/LICENSE"} <= {
        name.partition("/vendor/novnc/")[2] for name in packed
    }
    assert {"LICENSE", "xterm.mjs", "xterm.css"} <= {name.partition("/vendor/xterm/")[2] for name in packed}


def test_nothing_of_a_build_or_of_this_computer_is_in_the_wheel(wheel):
    odd = {name for name in names(wheel) if "__pycache__" in name or "node_modules" in name or "/." in name}

    assert odd == set()


def test_the_metadata_name_every_licence(wheel):
    said = metadata(wheel)

    assert said["License-Expression"].split(" AND ") == ["Apache-2.0", "MPL-2.0", "BSD-2-Clause", "MIT", "Zlib"]
    assert said.get_all("License-File") == ["LICENSE"]


def pins():
    # what only an extra asks for is pinned where the tests need it
    lines = (ROOT / "requirements" / "dev.txt").read_text().splitlines()
    return dict(line.split()[0].split("==") for line in lines if line[:1].isalnum())


def test_each_requirement_has_bounds_within_which_the_pinned_version_lies(wheel):
    wanted = [Requirement(line) for line in metadata(wheel).get_all("Requires-Dist")]
    pinned = pins()

    assert wanted
    for requirement in wanted:
        signs = {bound.operator for bound in requirement.specifier}
        assert signs == {">=", "<"}, f"{requirement} wants both bounds"
        assert requirement.specifier.contains(pinned[requirement.name.lower()]), f"{requirement} excludes the pin"


def test_whatever_is_pinned_by_name_for_running_it_is_required_by_the_wheel(wheel):
    lines = (ROOT / "requirements" / "runtime.in").read_text().splitlines()
    asked = {Requirement(line).name.lower() for line in lines if line[:1].isalnum()}
    wanted = {Requirement(line).name.lower() for line in metadata(wheel).get_all("Requires-Dist")}

    assert asked
    assert asked - wanted == set(), "an empty environment would lack these"


@pytest.mark.parametrize("name", ["runtime", "dev", "build"])
def test_no_pinned_list_names_where_packages_come_from(name):
    text = (ROOT / "requirements" / f"{name}.txt").read_text()

    assert "://" not in text
    assert "--index" not in text
