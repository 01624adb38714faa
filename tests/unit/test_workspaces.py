"""Workspaces: what is one, whose, and which roots cannot be trusted."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from antechamber.errors import CallerError, Code, OperatorError
from antechamber.workspaces import Workspaces


@pytest.fixture
def root():
    # pytest's own folder may not be entered by others
    with tempfile.TemporaryDirectory(prefix="workspaces-") as made:
        folder = Path(os.path.realpath(made))
        folder.chmod(0o755)
        for name in ("site", "notes"):
            (folder / name).mkdir()
            (folder / name).chmod(0o755)
        yield folder


def why_not(workspaces, name, application="default"):
    with pytest.raises(CallerError) as refused:
        workspaces.folder(application, name)
    assert refused.value.code is Code.WORKSPACE_NOT_FOUND
    return refused.value.message


def test_each_folder_below_an_applications_root_is_one_of_that_application_alone(root):
    workspaces = Workspaces({"app_a": root})
    assert workspaces.names("app_a") == ["notes", "site"]
    assert workspaces.folder("app_a", "site") == root / "site"
    assert workspaces.names("default") == []
    assert why_not(workspaces, "site") == "There are no workspaces here."


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../site",
        "site/",
        "site/..",
        "/etc",
        "a\0b",
        "nowhere",
        "x" * 65,
        "-x",
        ".git",
        "s ite",
        "site\n",
    ],
)
def test_a_name_is_that_of_a_folder_below_the_root_and_no_way_out_of_it(root, name):
    (root / ".git").mkdir()
    assert why_not(Workspaces({"default": root}), name).endswith("; there are notes, site.")


def test_a_link_and_a_file_are_no_workspaces(root):
    (root / "link").symlink_to("/etc")
    (root / "file").touch()
    workspaces = Workspaces({"default": root})
    assert workspaces.names("default") == ["notes", "site"]
    for name in ("link", "file"):
        assert "there are notes, site" in why_not(workspaces, name)


def test_one_that_machines_may_not_read_says_so(root):
    (root / "site").chmod(0o750)
    assert why_not(Workspaces({"default": root}), "site").startswith("Machines may not read the workspace site")


def test_a_root_in_which_others_could_put_another_folder_is_trusted_no_more(root):
    workspaces = Workspaces({"default": root})
    assert workspaces.faults([]) == []
    root.chmod(0o777)
    with pytest.raises(OperatorError, match="misconfigured"):
        workspaces.folder("default", "site")
    assert workspaces.faults([]) == [f"{root}: others may write to it"]


def test_a_root_is_a_folder_that_can_be_entered_and_has_nothing_of_the_services_in_it(root):
    site = root / "site"
    (root / "link").symlink_to(site)

    def faults(folder, *ours):
        return Workspaces({"default": folder}).faults(ours)

    assert faults(root / "nowhere") == [f"{root}/nowhere: is no folder"]
    assert faults(root / "link") == [f"{root}/link: is no folder"]
    assert faults(root / "link" / "..") != []
    for ours in (site, site / "data", root, Path("/")):
        assert faults(site, ours) == [f"{site}: holds or lies in the service's own folder {ours}"]
    assert faults(site, root / "notes") == []
    site.chmod(0o700)
    assert faults(site) == [f"{site}: machines, which have accounts of their own, cannot enter it"]
    site.chmod(0o755)
    root.chmod(0o700)
    assert faults(site) == [f"{root}: machines, which have accounts of their own, cannot enter it"]
    root.chmod(0o757)
    assert faults(site) == [f"{root}: others could put another folder in the place of {site}"]
