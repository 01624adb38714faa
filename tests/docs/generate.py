"""Writes the reference pages that code already knows: `python -m tests.docs.generate`."""

from __future__ import annotations

from pathlib import Path

from antechamber.errors import CATALOGUE
from antechamber.lifecycle import MACHINE_TABLE, SESSION_TABLE, Act, diagrams
from antechamber.model import Reason
from antechamber.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"


def settings_page() -> str:
    rows = [
        f"| `ANTECHAMBER_{name.upper()}` | {field.description} | `{field.default}` |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(
        [
            "# Settings",
            "",
            "From the environment; durations are seconds. Made by `python -m tests.docs.generate`.",
            "",
            "| variable | meaning | default |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def errors_page() -> str:
    rows = [
        f"| `{code}` | {said.http_status} | {said.message} | {said.next} | {'yes' if said.retryable else ''} |"
        for code, said in CATALOGUE.items()
    ]
    return "\n".join(
        [
            "# Errors",
            "",
            'Every error is `{"error": {"code", "message", "next", "retryable"}}`. Codes are stable.',
            "Made from `errors.py` by `python -m tests.docs.generate`.",
            "",
            "| code | HTTP | message | next step | retryable |",
            "|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def states_page() -> str:
    lines = [
        "# States",
        "",
        "What each fact does in each state, made by `python -m tests.docs.generate`. A fact *moves* the state, is only",
        "*noted* (an event, no move), or is *refused*.",
        "",
        diagrams(),
        "## Sessions",
        "",
    ]
    statuses = list(SESSION_TABLE)
    lines += ["| fact | " + " | ".join(f"`{status}`" for status in statuses) + " |", "|---" * (len(statuses) + 1) + "|"]
    for fact in SESSION_TABLE[statuses[0]]:
        cells = []
        for status in statuses:
            rule = SESSION_TABLE[status][fact]
            cells.append(f"**{rule.to}**" if rule.act is Act.MOVE else str(rule.act))
        lines.append(f"| `{fact}` | " + " | ".join(cells) + " |")
    lines += [
        "",
        "Reasons of an end other than `completed`: " + ", ".join(f"`{reason}`" for reason in Reason) + ".",
        "",
    ]
    states = list(MACHINE_TABLE)
    lines += ["## Machines", "", "| fact | " + " | ".join(f"`{state}`" for state in states) + " |"]
    lines.append("|---" * (len(states) + 1) + "|")
    for moved in MACHINE_TABLE[states[0]]:
        cells = [
            f"**{MACHINE_TABLE[state][moved].to}**"
            if MACHINE_TABLE[state][moved].act is Act.MOVE
            else str(MACHINE_TABLE[state][moved].act)
            for state in states
        ]
        lines.append(f"| `{moved}` | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


PAGES = {"settings.md": settings_page, "errors.md": errors_page, "states.md": states_page}


def main() -> None:
    for name, page in PAGES.items():
        (DOCS / name).write_text(page())


if __name__ == "__main__":
    main()
