"""The files in `deploy/` for who watches and runs the service: what they name is what the code has."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from antechamber.egress import Verdict
from antechamber.errors import Code
from antechamber.metrics import TABLE, Kind
from antechamber.metrics.collect import endings
from antechamber.model import MachineState, SessionStatus
from antechamber.providers import Providers
from antechamber.settings import Settings
from tests.docs.generate import logged

DEPLOY = Path(__file__).parents[2] / "deploy"
PROMTOOL = DEPLOY.parent / ".venv/proxies/usr/bin/promtool"
ALERTS = DEPLOY / "prometheus/antechamber-alerts.yml"
RULE_TESTS = DEPLOY / "prometheus/antechamber-alerts.test.yml"
DASHBOARD = DEPLOY / "grafana/antechamber-dashboard.json"
UNIT = DEPLOY / "systemd/antechamber.service"

OF_PROMETHEUS = {"job", "instance"}
OTHERS = {"up", "process_cpu_seconds_total", "process_resident_memory_bytes"}
WORDS = {
    "status": {str(status) for status in SessionStatus},
    "reason": {reason for _, reason in endings()},
    "state": {str(state) for state in MachineState},
    "code": {str(code) for code in Code},
    "verdict": {str(verdict) for verdict in Verdict},
    "phase": {"requested", "booting"},
    "kind": {"read", "write"},
    "direction": {"to_page", "to_machine", "in", "out"},
    "provider": {spec.id for spec in Providers.load().all()},
    "job": {"antechamber"},
}


def series_of_code():
    """Return the labels of every series that the code makes, by its name."""
    found = {}
    for metric in TABLE:
        if metric.kind is Kind.HISTOGRAM:
            found |= {f"{metric.name}_{part}": {*metric.labels} for part in ("sum", "count")}
            found[f"{metric.name}_bucket"] = {*metric.labels, "le"}
        else:
            found[metric.name] = {*metric.labels}
    return found


SERIES = series_of_code()


def faults_of(expression):
    """Return what an expression of PromQL names that no service has."""
    faults = []
    named = re.findall(r"\b((?:antechamber|process|python)_\w+|up)\b(?:\{([^}]*)\})?", expression)
    labels = set(OF_PROMETHEUS)
    for name, matchers in named:
        if name not in SERIES and name not in OTHERS:
            faults.append(f"{name} is no metric")
        known = SERIES.get(name, set()) | OF_PROMETHEUS
        labels |= known
        for label, operator, value in re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"', matchers):
            if label not in known:
                faults.append(f"{name} has no label {label}")
            words = value.split("|") if "~" in operator else [value]
            faults += [f"{label} is never {one}" for one in words if label in WORDS and one not in WORDS[label]]
    for group in re.findall(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)", expression):
        faults += [f"no metric of this has {one}" for one in re.split(r"\s*,\s*", group) if one not in labels]
    return faults if named else ["it names no metric"]


def rules():
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def panels():
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("rate(antechamber_no_such_total[5m])", "antechamber_no_such_total is no metric"),
        ('antechamber_sessions{user="ada"}', "antechamber_sessions has no label user"),
        ('antechamber_sessions{status="done"}', "status is never done"),
        ('antechamber_sessions_ended_total{reason=~"superseded|bored"}', "reason is never bored"),
        ("sum by (session) (antechamber_sessions)", "no metric of this has session"),
        ("antechamber_sign_in_seconds", "antechamber_sign_in_seconds is no metric"),
        ("1 > 0", "it names no metric"),
    ],
)
def test_the_check_finds_what_is_wrong(expression, fault):
    assert faults_of(expression) == [fault]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_each_alert_asks_for_what_there_is_and_says_what_to_do(rule):
    assert faults_of(rule["expr"]) == []
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert set(rule["annotations"]) == {"summary", "next"}
    by = {label for group in re.findall(r"\bby \(([^)]*)\)", rule["expr"]) for label in re.split(r"\s*,\s*", group)}
    of_metrics = set().union(*(SERIES.get(name, set()) for name in re.findall(r"\bantechamber_\w+", rule["expr"])))
    shown = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
    # what is summed up keeps the labels that it is summed up by, and no other
    assert shown <= (by - {"le"} if by else of_metrics | OF_PROMETHEUS)


def test_the_alerts_watch_what_an_operator_must_know():
    text = " ".join(rule["expr"] for rule in rules())
    wanted = (
        "antechamber_sessions_ended_total",
        "antechamber_session_ready_seconds_bucket",
        "antechamber_store_up",
        "antechamber_event_loop_lag_seconds_bucket",
        "antechamber_driver_check_ok",
        "antechamber_machine_longest_seconds",
        "antechamber_disk_free_bytes",
    )
    assert [name for name in wanted if name not in text] == []
    assert len({rule["alert"] for rule in rules()}) == len(rules())


def test_each_line_of_the_log_that_an_alert_names_is_logged():
    events = {event for event, *_ in logged()}
    said = " ".join(rule["annotations"]["next"] for rule in rules())
    named = re.findall(r"lines ((?:machine|sign-in|request) [a-z ]+?)(?=[,.;]| and the\b)", said)
    assert len(named) >= 4
    assert [line for line in named if line not in events] == []


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_each_panel_asks_for_what_there_is(panel):
    assert panel["targets"]
    for target in panel["targets"]:
        assert faults_of(target["expr"]) == []
        assert target["datasource"]["uid"] == "${datasource}"
        shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        names = re.findall(r"\b(antechamber_\w+)", target["expr"])
        assert shown <= set().union(*(SERIES.get(name, set()) for name in names)) | OF_PROMETHEUS


def test_the_panels_show_every_metric_and_do_not_lie_over_one_another():
    text = " ".join(target["expr"] for panel in panels() for target in panel["targets"])
    text += json.dumps(json.loads(DASHBOARD.read_text())["templating"])
    hidden = [metric.name for metric in TABLE if metric.name not in text]
    assert hidden == ["antechamber_sessions_created_total"]
    taken = set()
    for panel in panels():
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_the_scrape_uses_the_path_and_the_token_of_metrics():
    configured = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    (job,) = configured["scrape_configs"]
    assert (job["job_name"], job["metrics_path"]) == ("antechamber", "/metrics")
    assert job["authorization"]["credentials_file"].endswith("metrics-token")
    assert configured["rule_files"] == [ALERTS.name]


def test_the_rules_of_the_alerts_hold():
    """By Prometheus' own tool, which `scripts/proxies` lays out; nothing else can run PromQL."""
    promtool = PROMTOOL if PROMTOOL.exists() else shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool (of Debian's package prometheus) is not there; `make test` brings it")
    for command in (["check", "rules", ALERTS.name], ["test", "rules", RULE_TESTS.name]):
        ended = subprocess.run([promtool, *command], cwd=ALERTS.parent, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_unit_keeps_machines_alive_and_shuts_nothing_that_they_need():
    said = [line for line in UNIT.read_text().splitlines() if line and line[0].isalpha()]
    options = dict(line.split("=", 1) for line in said)
    assert options["KillMode"] == "process"
    assert options["RuntimeDirectoryPreserve"] == "yes"
    assert options["OOMPolicy"] == "continue"
    assert options["StandardOutput"] == "null"
    breaks = {"RestrictNamespaces", "PrivateUsers", "ProtectProc", "ProcSubset", "ProtectKernelTunables"}
    breaks |= {"ProtectKernelLogs", "SystemCallFilter", "MemoryDenyWriteExecute", "PrivateDevices", "NoNewPrivileges"}
    assert breaks & set(options) == set()
    named = set(re.findall(r"ANTECHAMBER_(\w+)=", UNIT.read_text()))
    assert {name.lower() for name in named} <= set(Settings.model_fields)


def test_systemd_takes_the_unit(tmp_path):
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "antechamber.service"
    unit.write_text(re.sub(r"ExecStart=\S+", f"ExecStart={shutil.which('true')}", UNIT.read_text()))
    ended = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
