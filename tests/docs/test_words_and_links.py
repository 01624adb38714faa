"""What the pages name exists: files, headings, make's targets, commands, options, settings, events, codes."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from antechamber.errors import Code
from antechamber.lifecycle import MachineFact, SessionFact
from antechamber.metrics import TABLE
from antechamber.model import MachineState, Reason, SessionStatus
from antechamber.settings import Settings
from tests.docs.generate import commands, logged

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    ROOT / name
    for name in subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
)
COMMANDS = dict(commands())
GROUPS = {path.rpartition(" ")[0] for path in COMMANDS}
_LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def name_of(page):
    return str(page.relative_to(ROOT))


def anchors(page):
    """Return the anchors that a page's headings have on the usual hosts."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_link_within_the_repository_leads_somewhere(page):
    broken = []
    for match in _LINK.finditer(_FENCE.sub("", page.read_text())):
        target = match[1] or match[2]
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.is_relative_to(ROOT) or not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)

    assert broken == []


def links_of(page):
    """Return the files of this repository that a page links to."""
    targets = [match[1] or match[2] for match in _LINK.finditer(_FENCE.sub("", page.read_text()))]
    return {
        (page.parent / target.partition("#")[0]).resolve() for target in targets if not re.match(r"[a-z]+:|#", target)
    }


def test_every_page_is_reached_from_the_readme_and_each_of_docs_from_its_index():
    reached, fresh = set(), {ROOT / "README.md"}
    while fresh:
        reached |= fresh
        fresh = {file for page in fresh if page.suffix == ".md" for file in links_of(page)} - reached
    assert [name_of(page) for page in PAGES if page not in reached] == []

    index = links_of(ROOT / "docs/README.md")
    pages = [page for page in PAGES if page.is_relative_to(ROOT / "docs") and page != ROOT / "docs/README.md"]
    assert [name_of(page) for page in pages if page not in index] == [], "put them into docs/README.md"


def test_each_picture_is_shown_by_a_page():
    shown = {file for page in PAGES for file in links_of(page)}

    assert set((ROOT / "docs/images").iterdir()) - shown == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_file_that_is_named_exists(page):
    named = re.findall(
        r"`((?:src|docs|tests|scripts|requirements|web|deploy|\.ci)/[\w./-]+|[A-Z]+\.md|Makefile)`", page.read_text()
    )

    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_make_target_that_is_named_exists(page):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"^    make (\w+)|`make (\w+)`", page.read_text(), re.MULTILINE)

    assert {word for pair in named for word in pair if word} - targets == set()


def test_make_says_what_there_is_a_line_each_with_what_a_bare_debian_has(tmp_path):
    # mawk is there; column is in a package that is not
    (tmp_path / "awk").symlink_to(shutil.which("awk"))
    said = subprocess.run(
        [shutil.which("make"), "--no-print-directory", "help"],
        cwd=ROOT,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    described = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)

    assert [line.split()[0] for line in said.splitlines()] == described
    assert re.findall(r"\$\(\w+\)|\s$|##", said.rstrip("\n"), re.MULTILINE) == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_command_and_option_that_is_named_exists(page):
    wrong = []
    for line in re.findall(r"(?:^    |`)(?:\.venv/bin/)?(antechamber [a-z][^`\n#·]*)", page.read_text(), re.MULTILINE):
        # what follows -- is another tool's
        words = line.partition(" -- ")[0].removesuffix(" --").split()
        path = next(
            (" ".join(words[:n]) for n in (3, 2) if " ".join(words[:n]) in COMMANDS | dict.fromkeys(GROUPS)), None
        )
        if path is None:
            wrong.append(line)
        elif path in COMMANDS:
            known = {opt for parameter in COMMANDS[path].params for opt in parameter.opts}
            wrong += [f"{path} {word}" for word in words if word.startswith("--") and word not in known]

    assert wrong == []


def test_the_readme_begins_with_what_a_bare_debian_lacks_and_the_two_commands():
    commands_first = re.findall(r"^    (.+?)(?: +#.*)?$", (ROOT / "README.md").read_text(), re.MULTILINE)

    assert commands_first[:3] == ["apt-get install git make", "make run", "make test"]


def test_the_readme_names_every_command():
    page = (ROOT / "README.md").read_text()

    assert [path for path in COMMANDS if path.removeprefix("antechamber ") not in page] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_setting_that_is_named_exists(page):
    known = {f"ANTECHAMBER_{name.upper()}" for name in Settings.model_fields}

    assert set(re.findall(r"ANTECHAMBER_[A-Z_]+", page.read_text())) - known == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_metric_that_is_named_exists(page):
    known = {metric.name for metric in TABLE}

    assert set(re.findall(r"\bantechamber_[a-z_]+_(?:total|seconds|bytes|info)\b", page.read_text())) - known == set()


def test_each_line_to_watch_for_is_one_that_the_code_logs():
    section = (ROOT / "docs/logs.md").read_text().partition("## Lines to watch for")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`.+?`) \|", section, re.MULTILINE)
    named = {word for cell in cells for word in re.findall(r"`(.+?)`", cell)}

    assert len(named) > 8
    assert named - {event for event, *_ in logged()} == set()


def test_every_state_reason_and_event_is_documented():
    page = (ROOT / "docs/states.md").read_text()
    words = [*SessionStatus, *MachineState, *Reason, *SessionFact, *MachineFact, "created"]

    assert [str(word) for word in words if f"`{word}`" not in page] == []


def test_every_error_code_is_documented():
    page = (ROOT / "docs/errors.md").read_text()

    assert [str(code) for code in Code if f"| `{code}` |" not in page] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_page_calls_a_use_of_the_vendors_services_in_order(page):
    words = re.findall(r"\b(?:compliant|compliance|allowed|permitted|legal to)\b", page.read_text(), re.IGNORECASE)
    if page == ROOT / "README.md":
        section = page.read_text().partition("## The vendors' terms")[2].partition("\n## ")[0]
        words = re.findall(r"\b(?:compliant|compliance|allowed|permitted|legal to)\b", section, re.IGNORECASE)
        assert "no legal advice" in section
    else:
        words = [word for word in words if word.lower() in {"compliant", "compliance"}]

    assert words == []


def test_the_page_on_trouble_has_every_reason_that_is_no_wish():
    page = (ROOT / "docs/how-to/troubleshoot.md").read_text()
    wished = {Reason.CANCELLED_BY_PERSON, Reason.CANCELLED_BY_CALLER, Reason.SUPERSEDED}

    assert [reason for reason in Reason if reason not in wished and f"| `{reason}` |" not in page] == []


@pytest.mark.parametrize("name", ["troubleshoot.md", "behind-a-proxy.md"])
def test_each_error_code_and_reason_that_a_how_to_names_exists(name):
    words = set(re.findall(r"`([a-z]+_[a-z_]+)`", (ROOT / "docs/how-to" / name).read_text()))

    assert words - {str(code) for code in Code} - {str(reason) for reason in Reason} == set()
