"""Definitions: those we ship are valid, and a wrong one says all that is wrong with it."""

from __future__ import annotations

import re
import shutil

import pytest
from pydantic import ValidationError

from antechamber.errors import CallerError, Code, OperatorError
from antechamber.model import LIVE_STATUSES
from antechamber.providers import Providers
from antechamber.providers.catalogue import SHIPPED
from antechamber.providers.definition import Definition
from antechamber.settings import Settings

CODEX = (SHIPPED / "codex.toml").read_text()


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(SHIPPED / "npm" / "codex", tmp_path / "npm" / "codex")
    return tmp_path


def write(folder, name, text):
    (folder / f"{name}.toml").write_text(text)


def another(text=CODEX, name="another"):
    return text.replace('id = "codex"', f'id = "{name}"').replace('["codex_cli"]', "[]")


def faults_of(folder):
    with pytest.raises(OperatorError) as caught:
        Providers.load([folder])
    assert caught.value.code is Code.PROVIDER_INVALID
    return caught.value.detail


def test_the_three_shipped_definitions_are_valid(providers):
    assert [spec.id for spec in providers.all()] == ["claude_code", "codex", "gemini"]


@pytest.mark.parametrize(
    ("asked", "canonical"),
    [
        ("claude_code", "claude_code"),
        ("claude", "claude_code"),
        ("codex", "codex"),
        ("codex_cli", "codex"),
        ("gemini", "gemini"),
        ("gemini_cli", "gemini"),
    ],
)
def test_f032_every_alias_leads_to_the_one_canonical_id(providers, asked, canonical):
    assert providers.get(asked).id == canonical


@pytest.mark.parametrize("asked", ["claude_code_pro", "claude_code_max", "Codex", "", "../codex", "openai"])
def test_a_name_with_a_plan_in_it_or_an_unknown_one_is_refused(providers, asked):
    with pytest.raises(CallerError) as caught:
        providers.get(asked)
    assert caught.value.code is Code.UNKNOWN_PROVIDER


def test_no_shipped_definition_lets_a_credential_out_or_claims_that_terms_were_read(providers):
    for spec in providers.all():
        assert spec.terms.reveal is False
        assert spec.terms.unattended is False
        assert spec.terms.read_on is None, "set this only with the date on which somebody read the live page"


def test_every_provider_says_beforehand_that_passkeys_do_not_work(providers):
    for spec in providers.all():
        assert any("asskey" in notice for notice in spec.notices)


def test_gemini_says_beforehand_that_it_serves_enterprise_licences_only(providers):
    assert any("enterprise" in notice for notice in providers.get("gemini").notices)


def test_every_captured_file_is_named_in_what_the_person_agrees_to(providers):
    for spec in providers.all():
        text = " ".join(spec.captures)
        for file in (spec.definition.credential, *spec.definition.companions.values()):
            assert file.path in text


def test_no_definition_uses_a_word_of_a_session_status_as_its_id(providers):
    assert not {spec.id for spec in providers.all()} & {str(status) for status in LIVE_STATUSES}


def test_an_operators_folder_adds_providers(folder):
    write(folder, "another", another())
    assert Providers.load([folder]).get("another").name == "Codex"


def test_every_fault_of_every_definition_is_reported_at_once_with_file_and_field(folder):
    broken = another(name="first").replace('vendor = "OpenAI"', "").replace('how = "plain"', 'how = "telepathy"')
    write(folder, "first", broken.replace('written = "rename"', 'written = "rename"\nowner = "me"'))
    write(folder, "second", another(name="second").replace("display = false", 'display = "no"'))
    write(folder, "third", "not toml at all [")
    faults = faults_of(folder)
    assert "first.toml: vendor: Field required" in faults
    assert "first.toml: sign_in.drive.how" in faults
    assert "first.toml: credential.owner: Extra inputs are not permitted" in faults
    assert "second.toml: sign_in.display" in faults
    assert "third.toml" in faults


def test_a_definition_is_called_like_its_file(folder):
    write(folder, "other_name", another())
    assert "other_name.toml: id: must be the file's name" in faults_of(folder)


def test_two_providers_cannot_have_one_name(folder):
    write(folder, "another", another().replace("aliases = []", 'aliases = ["gemini_cli"]'))
    assert f"gemini_cli is claimed by {SHIPPED}/gemini.toml, {folder}/another.toml" in faults_of(folder)


def test_an_operators_definition_does_not_take_the_place_of_a_shipped_one(folder):
    write(folder, "codex", CODEX)
    assert f"codex is claimed by {SHIPPED}/codex.toml, {folder}/codex.toml" in faults_of(folder)


def test_an_operators_folder_that_others_may_write_to_is_refused(folder):
    write(folder, "another", another())
    folder.chmod(0o775)
    (folder / "another.toml").chmod(0o666)
    faults = faults_of(folder)
    assert f"{folder}: others may write to it" in faults
    assert f"{folder}/another.toml: others may write to it" in faults


def test_a_lock_that_others_may_write_to_is_refused_with_its_definition(folder):
    write(folder, "another", another())
    npm = folder / "npm" / "codex"
    npm.chmod(0o777)
    (npm / "package-lock.json").chmod(0o664)
    faults = faults_of(folder)
    assert f"{npm}: others may write to it" in faults
    assert f"{npm}/package-lock.json: others may write to it" in faults
    assert f"{npm}/package.json" not in faults


def test_the_setting_names_the_operators_folder(folder):
    write(folder, "another", another())
    assert [spec.id for spec in Providers.of(Settings()).all()] == ["claude_code", "codex", "gemini"]
    assert Providers.of(Settings(providers_dir=folder)).get("another").name == "Codex"
    with pytest.raises(OperatorError, match="there is no such folder"):
        Providers.of(Settings(providers_dir=folder / "missing"))


def test_an_empty_folder_is_a_fault_and_not_silently_nothing(tmp_path):
    assert "holds no definition" in faults_of(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('"integrity": "sha512-', '"other": "sha512-', "has no integrity hash"),
        ('"license":', '"resolved": "https://registry.example/x.tgz", "license":', "names an address"),
        ('"version": "0.169.0', '"version": "0.168.0', "holds no package of version 0.169.0"),
        ('"packages"', '"nothing"', "the lock cannot be read"),
    ],
)
def test_a_lock_without_hashes_with_addresses_or_of_another_version_is_refused(folder, old, new, fault):
    lock = folder / "npm" / "codex" / "package-lock.json"
    lock.write_text(lock.read_text().replace(old, new))
    write(folder, "another", another())
    assert f"another.toml: install.npm: " in (found := faults_of(folder))  # noqa: F541 - reads like the others
    assert fault in found


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda t: t["credential"].update(path="/etc/passwd"), "must begin with ~/"),
        (lambda t: t["credential"].update(path="~/../x"), "must begin with ~/"),
        (lambda t: t["credential"].update(max_bytes=10**9), "less than or equal to 262144"),
        (lambda t: t["terms"].update(reveal=True), "Input should be False"),
        (lambda t: t["install"].update(folder="tool"), "needs either npm or folder"),
        (lambda t: t["install"].pop("package"), "package goes with npm"),
        (lambda t: t["install"].update(sha256="0" * 64), "sha256 goes with folder"),
        (lambda t: t["install"].update(program="bin/codex"), "below node_modules/ only"),
        (lambda t: t["install"].update(program="node_modules/../../x"), "no path may hold .."),
        (lambda t: t["sign_in"].update(hosts=["https://auth.example.com"]), "must be a host name"),
        (lambda t: t["sign_in"].update(hosts=[]), "at least 1 item"),
        (lambda t: t["sign_in"]["drive"].update(how="acp"), "acp_method goes with"),
        (lambda t: t["sign_in"]["drive"].update(answers=[{"expect": "x", "send": "y"}]), "answers go with"),
        (
            lambda t: t["sign_in"]["drive"].update(how="pty", answers=[{"expect": "(", "send": "y"}]),
            "is not a regular expression",
        ),
        (lambda t: t["sign_in"]["callback"].update(port="random"), "ports go with"),
        (lambda t: t["sign_in"].update(seed=[{"path": "~/.x"}]), "needs either text or json"),
        (lambda t: t["check"].update(parse="gemini"), "needs either arguments or parse"),
        (lambda t: [f.pop("required", 0) for f in t["credential"]["shapes"][0]["fields"]], "no field is required"),
        (
            lambda t: t["credential"]["shapes"][0]["fields"].append({"path": "tokens.id_token", "type": "string"}),
            "twice",
        ),
        (lambda t: t["credential"]["shapes"][0].update(expires=[{"path": "last_refresh"}]), "an expiry needs a unit"),
        (lambda t: t["credential"]["shapes"][0].update(account=[{"path": "e.mail"}]), "which is not kept"),
        (
            lambda t: t["credential"]["shapes"][0].update(account=[{"file": "elsewhere", "path": "e"}]),
            "a file 'elsewhere' that is not defined",
        ),
        (lambda t: t["credential"]["shapes"][0]["fields"].append({"path": "a..b", "type": "string"}), "joined by dots"),
        (lambda t: t["credential"]["shapes"][0]["fields"].append({"path": "a", "type": "text"}), "Input should be"),
    ],
)
def test_a_definition_that_could_not_work_or_would_take_too_much_is_refused(definition_of, change, fault):
    table = definition_of("codex")
    change(table)
    with pytest.raises(ValidationError, match=re.escape(fault)):
        Definition.model_validate(table)
