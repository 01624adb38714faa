"""Definitions agree with what the real tools were seen to do; a definition without transcripts is not finished."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from antechamber.errors import ProviderError
from antechamber.providers import CapturedFile, Providers

HERE = Path(__file__).parent
PROVIDERS = Providers.load()
IDS = [spec.id for spec in PROVIDERS.all()]


def samples():
    where = importlib.util.spec_from_file_location("samples", HERE / "samples.py")
    module = importlib.util.module_from_spec(where)
    where.loader.exec_module(module)
    return module.SAMPLES


SAMPLES = samples()
CHECKED = [spec.id for spec in PROVIDERS.all() if spec.definition.check.parse is None]


def transcript(provider, name):
    path = HERE / provider / f"{name}.json"
    assert path.is_file(), f"record it: python tests/providers/record.py SHARED_DIR {provider}"
    return json.loads(path.read_text())


def accepted(job, said):
    """Judge what a tool said by the job's own rule."""
    if said["code"] != job["check"]["accept_code"]:
        return False
    wanted = job["check"].get("accept_json")
    return not wanted or wanted.items() <= json.loads(said["stdout"]).items()


@pytest.mark.parametrize("provider", IDS)
def test_the_transcripts_are_of_the_pinned_version_and_of_the_definitions_own_command(provider):
    spec, said = PROVIDERS.get(provider), transcript(provider, "sign_in")
    assert said["version"] == spec.version
    assert said["argv"] == spec.job()["argv"]


@pytest.mark.parametrize("provider", IDS)
def test_f055_the_tool_asks_for_one_page_of_a_known_sign_in_host_by_the_opener(provider):
    spec, said = PROVIDERS.get(provider), transcript(provider, "sign_in")
    assert len(said["opener"]) == 1
    page = urlsplit(said["opener"][0])
    assert page.scheme == "https"
    assert page.hostname in spec.sign_in_hosts


@pytest.mark.parametrize("provider", IDS)
def test_the_tool_listens_on_loopback_where_the_definition_says_and_the_page_leads_back_there(provider):
    callback = PROVIDERS.get(provider).definition.sign_in.callback
    said = transcript(provider, "sign_in")
    port = callback.ports[0] if callback.port == "fixed" else "<PORT>"
    assert {"address": "127.0.0.1", "port": port} in said["listening"]
    back = urlsplit(parse_qs(urlsplit(said["opener"][0]).query)["redirect_uri"][0])
    assert back.netloc in {f"localhost:{port}", f"127.0.0.1:{port}"}


@pytest.mark.parametrize("provider", IDS)
def test_the_credential_is_not_there_before_somebody_has_signed_in(provider):
    credential = PROVIDERS.get(provider).definition.credential.path.removeprefix("~/")
    assert credential not in transcript(provider, "sign_in")["files"]


@pytest.mark.parametrize("provider", IDS)
def test_an_acp_tool_offers_the_method_that_the_definition_chooses(provider):
    drive, said = PROVIDERS.get(provider).definition.sign_in.drive, transcript(provider, "sign_in")
    assert (said["acp"] is not None) == (drive.how == "acp")
    if said["acp"] is not None:
        methods = [method["id"] for method in said["acp"][0]["answer"]["result"]["authMethods"]]
        assert drive.acp_method in methods


@pytest.mark.parametrize("provider", CHECKED)
def test_f034_the_tool_accepts_a_whole_credential_and_refuses_broken_ones(provider):
    said = transcript(provider, "check")
    spec = PROVIDERS.get(provider)
    whole = {name: CapturedFile(text.encode()) for name, text in SAMPLES[provider]["whole"].items()}
    job = spec.check_job(spec.parse(whole).bundle)
    assert said["version"] == spec.version
    assert {case["argv"] == job["check"]["argv"] for case in said["cases"].values()} == {True}
    verdicts = {name: accepted(job, case) for name, case in said["cases"].items()}
    assert verdicts["whole"]
    assert not verdicts["cut_off"]
    assert not verdicts["lacking"]


def test_codex_itself_takes_an_empty_object_for_a_sign_in():
    """Its word alone is not enough: that is why our own parser judges before anything is sealed."""
    case = transcript("codex", "check")["cases"]["empty_object"]
    assert case["code"] == 0
    assert "Logged in" in case["stderr"]


@pytest.mark.parametrize("provider", IDS)
@pytest.mark.parametrize("case", ["cut_off", "lacking", "empty_object"])
def test_our_parser_refuses_what_a_tool_must_never_get_back(provider, case):
    files = {name: CapturedFile(text.encode()) for name, text in SAMPLES[provider][case].items()}
    with pytest.raises(ProviderError):
        PROVIDERS.get(provider).parse(files)


@pytest.mark.parametrize("path", sorted(HERE.glob("*/*.json")), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_transcript_belongs_to_a_provider_and_names_no_persons_home(path):
    assert path.parent.name in IDS
    text = path.read_text()
    assert json.loads(text)["provider"] == path.parent.name
    assert "/tmp/record-" not in text
    assert "/root" not in text
    assert "state=<STATE>" in text or path.stem != "sign_in"
