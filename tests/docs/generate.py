"""Writes the reference pages that code already knows: `python -m tests.docs.generate`."""

from __future__ import annotations

import ast
import asyncio
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import typer

from antechamber import run_life
from antechamber.cli import cli
from antechamber.credential_life import CREDENTIAL_TABLE, REASONS, diagram
from antechamber.errors import CATALOGUE
from antechamber.isolation import CATALOGUE as ATTEMPTS
from antechamber.lifecycle import MACHINE_TABLE, SESSION_TABLE, Act, diagrams
from antechamber.metrics import TABLE, Of
from antechamber.metrics.collect import endings
from antechamber.model import Reason
from antechamber.run_life import RUN_TABLE
from antechamber.settings import Settings
from antechamber.store import release_of
from antechamber.store.migrate import scripts
from antechamber.story import MACHINE_EVENTS, REFUSED, SESSION_EVENTS, Detail
from antechamber.web import events, refusals, relay
from tests.docs.failures import Failure, Named, every_test, named_after, rule, themes
from tests.docs.promises import promises
from tests.integration import web_service

DOCS = Path(__file__).parents[2] / "docs"
BEGIN = "<!-- made by `python -m tests.docs.generate` -->"
END = "<!-- until here -->"
METRICS_INTRO = f"""# Metrics

What `GET /metrics` shows, made from the table in the code by `python -m tests.docs.generate`. How to have them
scraped: [how-to/monitor.md](how-to/monitor.md). Besides these come the library's `process_…` and `python_…` metrics
of the service itself. Seconds and bytes throughout.

Durations of sessions and machines are computed from the times that were committed with their events, by the service
that committed the last of the two: a restart in between does not change them, and each event counts once. Counters
begin at nought with each start of the service, as Prometheus expects. Every series is there from the start. No
label holds an id, a user or a host name.

The last column says whose numbers they are. {Of.SERVICE.capitalize()}'s are to be added up where several services
share a database; those of {Of.DATABASE} are the same in each, so take their maximum, never the sum.
"""


def settings_page() -> str:
    rows = [
        f"| `ANTECHAMBER_{name.upper()}` | {field.description} | {default_of(field.default)} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(
        [
            "# Settings",
            "",
            "From the environment. Durations are seconds; several words are separated by commas. Every fault is named",
            "at once, and `antechamber doctor` names variables that look like settings and are none. Made by",
            "`python -m tests.docs.generate`.",
            "",
            "| variable | meaning | default |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def default_of(value: object) -> str:
    if value is None or value == ():
        return ""
    return f"`{', '.join(value) if isinstance(value, tuple) else value}`"


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
            "A 429 has `Retry-After`: see [how many at once](how-to/limits.md).",
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
        "*noted* (an event, no move), or is *refused*. Its word is the `kind` of the event that records it; the first",
        "event of a session is `created`, and an event of a refused fact has `refused: true` in its `fields`.",
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
    return "\n".join([*lines, "", *_credentials(), "", *_runs(), ""])


def _runs() -> list[str]:
    statuses = list(RUN_TABLE)
    lines = [
        "## Runs",
        "",
        "A run of a tool with a stored credential; [how-to/run.md](how-to/run.md). The lease of its credential is",
        "apart from it.",
        "",
        run_life.diagram(),
        "| fact | " + " | ".join(f"`{status}`" for status in statuses) + " |",
        "|---" * (len(statuses) + 1) + "|",
    ]
    for fact in RUN_TABLE[statuses[0]]:
        rules = [RUN_TABLE[status][fact] for status in statuses]
        cells = [
            f"**{rule.to}**" + (f" `{rule.reason}`" if rule.reason else "") if rule.act is Act.MOVE else str(rule.act)
            for rule in rules
        ]
        lines.append(f"| `{fact}` | " + " | ".join(cells) + " |")
    return lines


def _credentials() -> list[str]:
    statuses = list(CREDENTIAL_TABLE)
    lines = [
        "## Credentials",
        "",
        "A credential has a status of its own, apart from any session's; [credentials.md](credentials.md) says what",
        "each means. A fact is the `kind` of an event in the credential's own story.",
        "",
        diagram(),
        "| fact | " + " | ".join(f"`{status}`" for status in statuses) + " |",
        "|---" * (len(statuses) + 1) + "|",
    ]
    for fact in CREDENTIAL_TABLE[statuses[0]]:
        rules = [CREDENTIAL_TABLE[status][fact] for status in statuses]
        cells = [
            f"**{rule.to}**" + (f" after `{rule.takes_back}`, else note" if rule.takes_back else "")
            if rule.act is Act.MOVE
            else str(rule.act)
            for rule in rules
        ]
        lines.append(f"| `{fact}` | " + " | ".join(cells) + " |")
    lines += ["", "| status | its reasons |", "|---|---|"]
    lines += [f"| `{status}` | {', '.join(f'`{one}`' for one in sorted(REASONS[status]))} |" for status in statuses]
    return lines


def logs_page() -> str:
    """Return docs/logs.md with the table of lines in it; the rest of that page is written by hand."""
    rows = [
        f"| `{event}` | {level} | `{part}` | {', '.join(f'`{one}`' for one in fields)} |"
        for event, level, part, fields in sorted(logged())
    ]
    table = ["| event | level | part | fields of its own |", "|---|---|---|---|", *rows]
    return with_made("logs.md", table)


def logged() -> set[tuple[str, str, str, tuple[str, ...]]]:
    """Return each line that the code logs, but for those at DEBUG: its event, level, part and own fields."""
    found = set()
    for path in sorted((DOCS.parent / "src/antechamber").rglob("*.py")):
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        parts = [ast.literal_eval(call.args[0]) for call in calls if called_as(call) == "get_logger" and call.args]
        for call in calls:
            level = called_as(call)
            if level not in {"info", "warning", "error", "exception", "critical", "say"} or not call.args or not parts:
                continue
            event = call.args[0]
            if isinstance(event, ast.Constant) and isinstance(event.value, str):
                shown = {"exception": "error", "say": "info"}.get(level, level)
                found.add((event.value, shown, parts[0], tuple(one.arg or "error" for one in call.keywords)))
    return found


def called_as(call: ast.Call) -> str:
    match call.func:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return ""


def metrics_page() -> str:
    rows = [
        f"| `{metric.name}` | {metric.kind} | {', '.join(f'`{label}`' for label in metric.labels)} | {metric.help} |"
        f" {metric.of} |"
        for metric in TABLE
    ]
    reasons: dict[str, list[str]] = {}
    for status, reason in endings():
        reasons.setdefault(status, []).append(f"`{reason}`")
    buckets = [
        f"| `{metric.name}` | {', '.join(f'{bound:g}' for bound in metric.buckets)} |"
        for metric in TABLE
        if metric.buckets
    ]
    return "\n".join(
        [
            METRICS_INTRO,
            "| metric | kind | labels | meaning | of |",
            "|---|---|---|---|---|",
            *rows,
            "",
            "## Reasons of endings",
            "",
            "| status | reason |",
            "|---|---|",
            *(f"| `{status}` | {', '.join(words)} |" for status, words in reasons.items()),
            "",
            "## Buckets",
            "",
            "| histogram | upper bounds, in seconds |",
            "|---|---|",
            *buckets,
            "",
        ]
    )


FAILURES_INTRO = """# What went wrong before

The system that Antechamber replaces lost sign-ins, and this is how: every failure that its own reports tell, with what
must hold so that it cannot happen again. The house was built from this list, and it is kept by it: a failure that could
happen here has tests whose names begin with its number (`test_f031_…`), and one that cannot names the rule that
excludes it and the test that guards the rule. A number with a letter is a part of the one without, or was told beside
it. The list itself is `tests/docs/failures.toml`; this page is made of it by `python -m tests.docs.generate`, and
`tests/docs/test_failures.py` fails where a number has neither.
"""


def failures_page() -> str:
    lines = [FAILURES_INTRO]
    for title, told in themes():
        lines += [f"## {title}", "", "| number | what went wrong | what must hold | how it is held here |"]
        lines += ["|---|---|---|---|"]
        lines += [f"| {one.number} | {one.wrong} | {one.holds} | {held(one)} |" for one in told]
        lines.append("")
    return "\n".join(lines)


def held(failure: Failure) -> str:
    if failure.rule is None:
        return "tests: " + "; ".join(map(linked, named_after(failure.number)))
    said, link = rule(failure.rule) or ("", "")
    guard = next(test for test in every_test() if f"{test.file}::{test.name}" == failure.guard)
    return f"rule: [{said}]({link}); guarded by {linked(guard)}"


def linked(test: Named) -> str:
    return f"[{test.sentence}](../{test.file})"


def threat_model_page() -> str:
    """Return docs/threat-model.md with each promise and its tests in it."""
    made = ["| promise | kept by |", "|---|---|"]
    for promise in promises():
        for claim in promise.claims:
            says = claim.says.lstrip(": ").replace("|", "\\|")
            made.append(f"| **{promise.lead}** {says} | {'; '.join(map(linked, claim.kept_by))} |")
    return with_made("threat-model.md", made)


TYPES = {str: "text", int: "number", bool: "true or false"}


def events_page() -> str:
    """Return docs/events.md with the made part in it; the rest of that page is written by hand."""
    made = ["## The events of a session", "", "| kind | made by | meaning | `fields` |", "|---|---|---|---|"]
    made += told(SESSION_EVENTS)
    made += ["", f"Besides, any of them may have {listed_detail(REFUSED)}"]
    made += ["", "## The events of a machine", "", "| kind | made by | meaning | `fields` |", "|---|---|---|---|"]
    made += told(MACHINE_EVENTS)
    made += ["", "## Named messages of the stream", "", "| event | meaning |", "|---|---|"]
    made += [f"| `{name}` | {meaning} |" for name, meaning in listed(events.__doc__, r"\w+")]
    return with_made("events.md", made)


def told(kinds: dict[str, Any]) -> list[str]:
    return [
        f"| `{kind}` | {', '.join(telling.makers)} | {telling.meaning} | "
        + " ".join(listed_detail(one) for one in telling.details)
        + " |"
        for kind, telling in kinds.items()
    ]


def listed_detail(one: Detail) -> str:
    return f"`{one.name}` ({TYPES[one.kind]}{'' if one.always else ', sometimes'}): {one.meaning}"


def with_made(name: str, made: list[str]) -> str:
    before, _, rest = (DOCS / name).read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return "\n".join([before + BEGIN, "", *made, "", END + after])


def cli_page() -> str:
    lines = [
        "# The command line",
        "",
        "Made from the commands' own help by `python -m tests.docs.generate`. `make` puts the program at",
        "`.venv/bin/antechamber`. Exit codes: 0 done; 1 it could not be done (the sentence, the next step and the",
        "[code](errors.md) are on standard error); 2 the command was not understood; 128 + N ended by signal N.",
        "Options win over the [settings](settings.md) of the environment.",
        "",
        "`sessions`, `credentials` and `owners` ask the running service over its control socket, and open the data",
        "directory themselves when none runs. They mean the world `serve`; `--world demo`, or",
        "`ANTECHAMBER_WORLD=demo`, means the other one.",
        "",
    ]
    for path, command in commands():
        usage = [parameter for parameter in command.params if parameter.name != "help"]
        words = [path, *(["[OPTIONS]"] if any(is_option(one) for one in usage) else [])]
        words += [called(one) for one in usage if not is_option(one)]
        lines += [f"## {path}", "", "\n\n".join(paragraphs(command.help or "")), "", f"    {' '.join(words)}", ""]
        rows = [
            f"| {names_of(one)} | {(getattr(one, 'help', '') or '').strip()} |"
            for one in usage
            if getattr(one, "help", "")
        ]
        lines += ["| option | meaning |", "|---|---|", *rows, ""] if rows else []
    return "\n".join(lines)


def commands() -> Iterator[tuple[str, Any]]:
    """Return every command with the words that call it."""

    def below(path: str, command: Any) -> Iterator[tuple[str, Any]]:
        if not hasattr(command, "commands"):
            yield path, command
            return
        for name, inner in command.commands.items():
            yield from below(f"{path} {name}", inner)

    return below("antechamber", typer.main.get_command(cli))


def paragraphs(text: str) -> list[str]:
    return [" ".join(part.split()) for part in text.split("\n\n")]


def is_option(parameter: Any) -> bool:
    return parameter.param_type_name == "option"


def called(argument: Any) -> str:
    word = argument.name.upper() + ("…" if argument.nargs == -1 else "")
    return word if argument.required else f"[{word}]"


def names_of(parameter: Any) -> str:
    names = [*parameter.opts, *parameter.secondary_opts] if is_option(parameter) else [called(parameter)]
    return ", ".join(f"`{name}`" for name in names)


def api_page() -> str:
    """Return docs/api.md with the made part in it; the rest of that page is written by hand."""
    made = asyncio.run(routes())
    made += ["", "### Close codes of the screen", "", "| code | meaning |", "|---|---|"]
    made += [f"| `{code}` | {meaning} |" for code, meaning in listed(relay.__doc__, r"\d{4}")]
    return with_made("api.md", made)


def upgrade_page() -> str:
    """Return docs/how-to/upgrade.md with the table of migrations in it."""
    line = list(scripts().walk_revisions())[::-1]
    rows = [f"| `{one.revision}` | {release_of(one.revision)} | {(one.doc or '').splitlines()[0]} |" for one in line]
    made = ["| schema | first in release | what it brought |", "|---|---|---|", *rows]
    return with_made("how-to/upgrade.md", made)


def listed(doc: str | None, word: str) -> list[tuple[str, str]]:
    """Return what a docstring lists as `word   meaning`."""
    return [
        (found[1], found[2].replace("|", "\\|"))
        for found in re.finditer(rf"^    ({word}) {{2,}}(.+)$", doc or "", re.MULTILINE)
    ]


async def routes() -> list[str]:
    """Return the routes of both sites, as a running service describes them and as its hosts answer to them."""
    with tempfile.TemporaryDirectory() as folder:
        async with web_service.running(Path(folder)) as service:
            operator = await service.operator()
            described = (await operator.get("/openapi.json")).json()
            browser = await service.browser()
            lines = [
                f"Any route can answer with {worded(refusals.EVERYWHERE)}, and one that changes something with",
                f"{worded(refusals.UNSAFE)}. What else a route can answer with stands in its row; /openapi.json has",
                "all of them as `x-error-codes`.",
                "",
                "| host | route | what it does | answers | errors |",
                "|---|---|---|---|---|",
            ]
            for path, item in described["paths"].items():
                for method, operation in item.items():
                    ids = {"session_id": "ses_x", "credential_id": "cred_x", "user_id": "x", "erasure_id": "era_x"}
                    ids["application_id"] = "app_x"
                    ids["run_id"] = "run_x"
                    here = await browser.request(method, path.format(**ids), json={})
                    only_sign_in = operation.get("servers", [{}])[0].get("url") == service.addresses.sign_in.url
                    host = "sign-in" if only_sign_in else "dashboard" if here.status_code == 421 else "both"
                    lines.append(f"| {host} | {route(method, path, operation)} |")
    return lines


def route(method: str, path: str, operation: dict[str, Any]) -> str:
    asked = [f"`{one['name']}`" for one in operation.get("parameters", ()) if one["in"] in {"query", "header"}]
    what = " ".join(operation["description"].split()) + (f" Takes {', '.join(asked)}." if asked else "")
    codes = ", ".join(code for code in operation["responses"] if code.isdigit() and code != "422")
    own = set(operation["x-error-codes"]) - refusals.EVERYWHERE
    own -= set() if method.upper() in refusals.SAFE_METHODS else refusals.UNSAFE
    return f"`{method.upper()} {path}` | {what} | {codes} | {worded(own)}"


def worded(codes: Iterable[str]) -> str:
    return ", ".join(f"`{code}`" for code in sorted(codes))


def isolation_page() -> str:
    """Return docs/isolation.md with the table of attempts in it; the rest of that page is written by hand."""
    rows = [f"| {one.wall} | {one.attempt} | {one.expected} | `{one.name}` |" for one in ATTEMPTS]
    table = ["| wall | attempt | what has to become of it | name |", "|---|---|---|---|", *rows]
    return with_made("isolation.md", table)


PAGES = {
    "isolation.md": isolation_page,
    "settings.md": settings_page,
    "errors.md": errors_page,
    "states.md": states_page,
    "metrics.md": metrics_page,
    "logs.md": logs_page,
    "cli.md": cli_page,
    "events.md": events_page,
    "api.md": api_page,
    "how-to/upgrade.md": upgrade_page,
    "failures.md": failures_page,
    "threat-model.md": threat_model_page,
}


def main() -> None:
    for name, page in PAGES.items():
        (DOCS / name).write_text(page())


if __name__ == "__main__":
    main()
