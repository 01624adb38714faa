"""Jobs: what a definition asks of a guest, as the guest itself reads it."""

from __future__ import annotations

import json

import pytest

from antechamber.errors import Code, OperatorError, ProviderError
from antechamber.guest import job as guest_job
from antechamber.providers import CapturedFile

IDS = ["claude_code", "codex", "gemini"]


def bundle_of(spec, samples):
    files = samples.SAMPLES[spec.id]["whole"]
    return spec.parse({name: CapturedFile(text.encode()) for name, text in files.items()}).bundle


@pytest.mark.parametrize("provider", IDS)
def test_the_guest_understands_the_job_of_a_sign_in(providers, provider):
    job = guest_job.parse(json.loads(json.dumps(providers.get(provider).job())))
    assert job.kind == "sign_in"
    assert job.screen
    assert job.browser
    assert job.files["credential"].required


@pytest.mark.parametrize("provider", IDS)
def test_the_guest_understands_the_job_of_a_check_and_the_job_brings_the_credential(providers, samples, provider):
    spec = providers.get(provider)
    job = guest_job.parse(json.loads(json.dumps(spec.check_job(bundle_of(spec, samples)))))
    assert job.kind == "check"
    assert not job.screen
    assert not job.browser
    seeds = {seed.path: seed for seed in job.seeds}
    assert seeds[spec.definition.credential.path].content == samples.SAMPLES[provider]["whole"]["credential"]
    assert seeds[spec.definition.credential.path].mode == 0o600


@pytest.mark.parametrize("provider", IDS)
def test_programs_lie_where_a_machine_sees_them(providers, provider):
    argv = providers.get(provider).job()["argv"]
    assert argv[0].startswith(("/opt/cli/node_modules/", "/opt/node/bin/node"))
    assert "{" not in "".join(argv)


def test_gemini_signs_in_with_an_empty_home_and_runs_with_its_choice_made(providers, samples):
    spec = providers.get("gemini")
    assert spec.job()["seed"] == []
    seeds = {seed["path"]: seed["content"] for seed in spec.check_job(bundle_of(spec, samples))["seed"]}
    chosen = json.loads(seeds["~/.gemini/settings.json"])
    assert chosen["security"]["auth"] == {"selectedType": "oauth-personal"}
    assert chosen["privacy"] == {"usageStatisticsEnabled": False}


def test_claude_runs_with_its_onboarding_done_and_its_account_in_one_file(providers, samples):
    spec = providers.get("claude_code")
    seeds = {seed["path"]: seed["content"] for seed in spec.check_job(bundle_of(spec, samples))["seed"]}
    settings = json.loads(seeds["~/.claude.json"])
    assert settings["hasCompletedOnboarding"] is True
    assert settings["oauthAccount"]["emailAddress"] == samples.ACCOUNT


def test_a_captured_companion_does_not_undo_a_seed_of_ours(providers, samples):
    spec = providers.get("gemini")
    files = dict(samples.SAMPLES["gemini"]["whole"])
    files["settings"] = json.dumps({"security": {"auth": {"selectedType": "gateway"}}})
    bundle = spec.parse({name: CapturedFile(text.encode()) for name, text in files.items()}).bundle
    seeds = {seed["path"]: seed["content"] for seed in spec.check_job(bundle)["seed"]}
    assert json.loads(seeds["~/.gemini/settings.json"])["security"]["auth"]["selectedType"] == "oauth-personal"


def test_a_check_with_another_providers_bundle_is_refused(providers, samples):
    with pytest.raises(ProviderError):
        providers.get("codex").check_job(bundle_of(providers.get("gemini"), samples))


def test_codex_keeps_its_credential_in_a_file(providers):
    assert 'cli_auth_credentials_store="file"' in providers.get("codex").job()["argv"]


def test_a_computer_for_which_no_vendor_makes_a_program_is_told_so(providers):
    with pytest.raises(OperatorError) as caught:
        providers.get("codex").program_for("riscv64")
    assert caught.value.code is Code.PROVIDER_NOT_INSTALLED


def test_f082_the_program_is_that_of_the_computers_processor(providers):
    assert "codex-linux-arm64/vendor/aarch64-unknown-linux-musl" in providers.get("codex").program_for("aarch64")
    assert "codex-linux-x64/vendor/x86_64-unknown-linux-musl" in providers.get("codex").program_for("x86_64")
