"""Everything that a description says, and everything that it does not allow, sent to a running service (schemathesis).

Of each operation: the boundaries of its schema one after the other, what its schema allows and what it does not by
chance, methods that the path does not have, and chains in which an answer's id is the next request's.
"""

from __future__ import annotations

import copy
import zlib
from collections import Counter
from dataclasses import dataclass, field

import schemathesis
from hypothesis import strategies as st
from schemathesis import hooks
from schemathesis.config import SchemathesisConfig
from schemathesis.core.parameters import ParameterLocation
from schemathesis.engine import events, from_schema
from schemathesis.engine.run import PhaseName

SEED = 8700
"""Of what is drawn by chance; it is printed with each fault."""

SLOW_S = 30
"""Seconds for an answer: what does not come at all is a fault, and how busy a computer is is none."""


_SEEN = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=128)
_RETURN_URLS = ["https://example.com/", "https://example.com:8443/a?b=c#d", "http://localhost:9/", "http://[::1]/x"]
# what the description's own formats mean; nobody else knows them
schemathesis.openapi.format("printable", _SEEN.map(lambda text: text.strip() or "ada"))
schemathesis.openapi.format("return-url", st.sampled_from(_RETURN_URLS))


@dataclass
class Known:
    """What there is behind a site, so that an attack arrives at something."""

    sessions: list[str]
    over: set[str]
    """Sessions of which nothing can change any more."""
    credentials: list[str]
    erasures: list[str]
    providers: list[str]
    runs: list[str]
    runners: list[str]
    """Users for whom a run can be asked for, and waits: nothing of it is written, but its place."""

    def named(self, parameter):
        return {
            "session_id": self.sessions,
            "credential_id": self.credentials,
            "erasure_id": self.erasures,
            "run_id": self.runs,
        }.get(parameter, [])


@dataclass
class Attack:
    """What came of one site's attack."""

    sent: Counter = field(default_factory=Counter)
    """Requests by the phase that sent them."""
    operations: dict[str, Counter] = field(default_factory=dict)
    """The statuses of each operation's answers."""
    faults: list[str] = field(default_factory=list)

    @property
    def statuses(self):
        return sum(self.operations.values(), Counter())

    def succeeded(self):
        """Return the operations that were answered with a success."""
        return {label for label, answers in self.operations.items() if any(status < 300 for status in answers)}

    def told(self):
        """Return the counts in words, and what is needed to have the same again."""
        phases = ", ".join(f"{number} {phase}" for phase, number in self.sent.items() if number)
        return f"{sum(self.sent.values())} requests ({phases}), seed {SEED}: {dict(sorted(self.statuses.items()))}"

    def take(self, event):
        if isinstance(event, events.FatalError):
            raise event.exception
        if isinstance(event, events.NonFatalError):
            self.faults.append(f"{event.label}: {event.info.format()}")
        if isinstance(event, events.ScenarioFinished):
            self._take(event.phase, event.recorder)

    def _take(self, phase, recorder):
        self.sent[phase.value] += len(recorder.interactions)
        for case_id, interaction in recorder.interactions.items():
            label = recorder.cases[case_id].value.operation.label
            # what was not answered is a fault of its own
            status = interaction.response.status_code if interaction.response is not None else 599
            self.operations.setdefault(label, Counter())[status] += 1
        for case_id, checks in recorder.checks.items():
            case = recorder.cases[case_id].value
            for check in checks:
                if check.failure_info is not None:
                    failure = check.failure_info.failure
                    command = case.as_curl_command()
                    self.faults.append(f"{check.name}: {failure.title}: {failure.message}\n{command}")


def of_site(described, url):
    """Return the part of a description that is served at that address."""
    usual = described["servers"]
    paths = {}
    for path, item in described["paths"].items():
        here = {
            method: operation
            for method, operation in item.items()
            if any(server["url"] == url for server in operation.get("servers", usual))
        }
        if here:
            paths[path] = here
    # a copy: what is inferred of its chains is written into it
    return copy.deepcopy({**described, "servers": [{"url": url}], "paths": paths})


def _aim(case, known):
    """Point what the description allows at something that there is; what it does not allow stays as it is."""
    meta = case.meta
    if meta is None or meta.phase.name.value == PhaseName.STATEFUL_TESTING.value:
        return
    if not meta.is_negative_at(ParameterLocation.PATH):
        for name, drawn in case.path_parameters.items():
            choice = [drawn, *known.named(name)]
            case.path_parameters[name] = choice[zlib.crc32(str(drawn).encode()) % len(choice)]
    if isinstance(case.body, dict) and "provider" in case.body and not meta.is_negative_at(ParameterLocation.BODY):
        choice = [case.body["provider"], *known.providers]
        case.body["provider"] = choice[zlib.crc32(str(choice[0]).encode()) % len(choice)]
    if case.operation.path == "/api/runs" and not meta.is_negative_at(ParameterLocation.BODY):
        _aim_run(case.body, known)
    # where something may change it would wait as long as it says, a second at least
    if case.path_parameters.get("session_id") in {*known.sessions} - known.over:
        case.query.pop("wait", None)


def _aim_run(body, known):
    """Ask for a run that there can be: what its fields allow together, and what the operator does, is in no schema."""
    if isinstance(body, dict):
        body["user_id"] = known.runners[zlib.crc32(str(body["user_id"]).encode()) % len(known.runners)]
        body["provider"] = "codex"
        if body.get("timeout") is not None:
            body["timeout"] = int(body["timeout"]) % 3600 + 1
        if body.get("terminal"):
            body.pop("stdin", None)


_OF_TOMBSTONES = {"/api/credentials/{credential_id}/story", "/api/credentials/{credential_id}/versions"}


def _is_no_fault(failure, case, response):
    """Tell what a schema has no word for.

    That there is no such provider, that a key was used with another body, that a tool is not run with such arguments,
    and that a tombstone has its story still.
    """
    match type(failure).__name__:
        case "RejectedPositiveData":
            code = response.json()["error"]["code"] if response.status_code == 422 else None
            return code in {"unknown_provider", "idempotency_mismatch", "argument_refused"}
        case "UseAfterFree":
            return case.operation.path in _OF_TOMBSTONES
    return False


def attack(described, url, headers, known, *, examples, without=(), secured=True):
    """Attack a site with every check that there is, but those named in `without`; return the Attack.

    `examples` is how many requests each operation gets by chance, besides those that its schema's boundaries give;
    with `secured` some of them have a right of the description's kinds left out, or made up.
    """
    config = SchemathesisConfig.from_dict(
        {
            "seed": SEED,
            "base-url": url,
            "headers": headers,
            "request-timeout": SLOW_S,
            "max-stream-events": 1,
            "continue-on-failure": True,
            "generation": {
                "max-examples": examples,
                "database": "none",
                "no-shrink": True,
                "with-security-parameters": secured,
            },
            "checks": {name: {"enabled": False} for name in without},
        }
    )
    schema = schemathesis.openapi.from_dict(of_site(described, url), config=config)

    def before_call(context, case, kwargs):
        del context, kwargs
        _aim(case, known)

    @schema.hook
    def filter_failure(context, failure, case, response):
        del context
        return not _is_no_fault(failure, case, response)

    found = Attack()
    schemathesis.hook(before_call)
    try:
        for event in from_schema(schema).execute():
            found.take(event)
    finally:
        hooks.unregister(before_call)
    return found
