"""Captured files: whole ones are taken with their claims, all others are refused, and nothing is quoted."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antechamber.errors import Code, ProviderError
from antechamber.providers import CapturedFile, Providers
from antechamber.providers.capture import open_bundle

IDS = ["claude_code", "codex", "gemini"]
EXPIRES = datetime(2100, 1, 1, tzinfo=UTC)
LOADED = Providers.load()


def captured(files):
    return {name: CapturedFile(text.encode()) for name, text in files.items()}


def code_of(spec, files, **options):
    with pytest.raises(ProviderError) as caught:
        spec.parse(files, **options)
    return caught.value.code


@pytest.mark.parametrize(("provider", "plan"), [("codex", "plus"), ("claude_code", "max"), ("gemini", None)])
def test_f049_a_whole_file_gives_account_plan_and_expiry(providers, samples, provider, plan):
    parsed = providers.get(provider).parse(captured(samples.SAMPLES[provider]["whole"]))
    assert parsed.claims.account == samples.ACCOUNT
    assert parsed.claims.plan == plan
    assert parsed.claims.expires_at == EXPIRES
    assert parsed.warnings == ()


@pytest.mark.parametrize("provider", IDS)
def test_the_bundle_holds_the_credential_byte_for_byte_and_opens_again(providers, samples, provider):
    spec, files = providers.get(provider), samples.SAMPLES[provider]["whole"]
    bundle = spec.parse(captured(files)).bundle
    opened = open_bundle(provider, bundle)
    assert opened["credential"] == {
        "path": spec.definition.credential.path,
        "mode": 0o600,
        "content": files["credential"],
    }
    assert json.dumps(json.loads(bundle), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() == bundle


def test_a_bundle_of_another_provider_does_not_open(providers, samples):
    bundle = providers.get("codex").parse(captured(samples.SAMPLES["codex"]["whole"])).bundle
    with pytest.raises(ProviderError):
        open_bundle("gemini", bundle)


@pytest.mark.parametrize("provider", IDS)
@pytest.mark.parametrize(
    ("case", "code"),
    [
        ("cut_off", Code.CREDENTIAL_MALFORMED),
        ("lacking", Code.CREDENTIAL_INCOMPLETE),
        ("empty_object", Code.CREDENTIAL_INCOMPLETE),
    ],
)
def test_f036_a_file_that_is_cut_off_or_lacks_something_is_refused(providers, samples, provider, case, code):
    assert code_of(providers.get(provider), captured(samples.SAMPLES[provider][case])) is code


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", Code.CREDENTIAL_MALFORMED),
        (b"[]", Code.CREDENTIAL_MALFORMED),
        (b"null", Code.CREDENTIAL_MALFORMED),
        (b"\xff\xfe{}", Code.CREDENTIAL_MALFORMED),
        (b'{"a": NaN}', Code.CREDENTIAL_MALFORMED),
        (b'{"a": 1, "a": 2}', Code.CREDENTIAL_MALFORMED),
        (b"[" * 60_000, Code.CREDENTIAL_MALFORMED),
        (b'{"a": ' + b"9" * 5000 + b"}", Code.CREDENTIAL_MALFORMED),
        (b" " * 70_000, Code.CREDENTIAL_TOO_LARGE),
        (b'{"tokens": "DUMMY"}', Code.CREDENTIAL_INCOMPLETE),
        (b'{"tokens": {"id_token": 1, "access_token": "", "refresh_token": null}}', Code.CREDENTIAL_INCOMPLETE),
    ],
)
def test_what_is_no_credential_at_all_has_a_code_of_its_own(providers, content, code):
    assert code_of(providers.get("codex"), {"credential": CapturedFile(content)}) is code


def test_no_file_at_all_is_incomplete(providers):
    assert code_of(providers.get("codex"), {}) is Code.CREDENTIAL_INCOMPLETE


def test_f037_a_file_that_was_there_before_the_start_is_stale_and_its_time_says_nothing(providers, samples):
    spec, text = providers.get("codex"), samples.SAMPLES["codex"]["whole"]["credential"].encode()
    assert code_of(spec, {"credential": CapturedFile(text, new=False)}) is Code.CREDENTIAL_STALE
    for mtime_ns in (0, 1, 2**63 - 1):
        assert spec.parse({"credential": CapturedFile(text, mtime_ns)})


def test_a_companion_that_was_there_before_the_start_is_left_out(providers, samples):
    spec, texts = providers.get("claude_code"), samples.SAMPLES["claude_code"]["whole"]
    files = {name: CapturedFile(text.encode()) for name, text in texts.items()}
    (companion,) = set(files) - {"credential"}
    files[companion] = CapturedFile(files[companion].content, new=False)
    parsed = spec.parse(files)
    assert set(open_bundle("claude_code", parsed.bundle)) == {"credential"}
    assert any("was there before" in warning for warning in parsed.warnings)


def test_a_new_field_of_the_vendors_is_a_warning_and_is_stored(providers, samples):
    document = json.loads(samples.SAMPLES["codex"]["whole"]["credential"])
    document["tokens"]["session_binding"] = "DUMMY-value"
    parsed = providers.get("codex").parse({"credential": CapturedFile(json.dumps(document).encode())})
    assert parsed.warnings == ("~/.codex/auth.json: tokens.session_binding is new",)
    assert b"session_binding" in parsed.bundle
    assert "DUMMY-value" not in "".join(parsed.warnings)


def test_an_optional_field_of_another_type_is_a_warning_only(providers, samples):
    document = json.loads(samples.SAMPLES["codex"]["whole"]["credential"])
    document["last_refresh"] = 5
    parsed = providers.get("codex").parse({"credential": CapturedFile(json.dumps(document).encode())})
    assert parsed.warnings == ("~/.codex/auth.json: last_refresh is not a text",)


def test_f036_claudes_older_form_is_taken_with_the_same_claims_and_stored_as_it_is(providers):
    older = {"anthropic": {"type": "oauth", "refresh": "DUMMY-r", "access": "DUMMY-a", "expires": 4_102_444_800_000}}
    text = json.dumps(older)
    parsed = providers.get("claude").parse({"credential": CapturedFile(text.encode())})
    assert parsed.claims.expires_at == EXPIRES
    assert any("older" in warning for warning in parsed.warnings)
    assert open_bundle("claude_code", parsed.bundle)["credential"]["content"] == text


def test_only_the_kept_values_of_a_companion_are_stored(providers, samples):
    parsed = providers.get("claude_code").parse(captured(samples.SAMPLES["claude_code"]["whole"]))
    kept = json.loads(open_bundle("claude_code", parsed.bundle)["settings"]["content"])
    assert kept == {
        "hasCompletedOnboarding": True,
        "oauthAccount": {
            "accountUuid": "00000000-0000-4000-8000-000000000001",
            "displayName": "A Person",
            "emailAddress": samples.ACCOUNT,
            "organizationName": "Example",
            "organizationUuid": "00000000-0000-4000-8000-000000000002",
        },
    }
    for planted in (b"mcpServers", b"hooks", b"/bin/sh"):
        assert planted not in parsed.bundle


@pytest.mark.parametrize(
    "companion", [None, b"", b"{", b"[]", b"{}", b"x" * 300_000, b'{"oauthAccount": {"emailAddress": 5}}']
)
def test_a_missing_or_broken_companion_is_no_failure(providers, samples, companion):
    files = {"credential": CapturedFile(samples.SAMPLES["claude_code"]["whole"]["credential"].encode())}
    if companion is not None:
        files["settings"] = CapturedFile(companion)
    parsed = providers.get("claude_code").parse(files)
    assert parsed.claims.account is None
    assert parsed.claims.plan == "max"
    assert parsed.warnings
    assert set(open_bundle("claude_code", parsed.bundle)) == {"credential"}


@pytest.mark.parametrize("name", ["organizationName", "emailAddress"])
def test_half_a_character_in_a_companion_costs_that_value_and_a_warning(providers, samples, name):
    files = samples.SAMPLES["claude_code"]["whole"]
    settings = json.loads(files["settings"])
    settings["oauthAccount"][name] = "DUMMY-\ud800"
    settings["history"] = ["cut in half: \ud83d"]
    parsed = providers.get("claude_code").parse(captured({**files, "settings": json.dumps(settings)}))
    assert parsed.warnings == (f"~/.claude.json: oauthAccount.{name} is not Unicode and is left out",)
    kept = json.loads(open_bundle("claude_code", parsed.bundle)["settings"]["content"])["oauthAccount"]
    assert name not in kept
    assert kept["displayName"] == "A Person"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda tokens: tokens.update(refresh_token="DUMMY-\ud800"),
        lambda tokens: tokens.update({"new\udfff": 1}),
        lambda tokens: tokens.update(new=[{"deep": ["\ud800"]}]),
    ],
    ids=["a needed value", "a name", "deep in a new one"],
)
def test_half_a_character_in_a_credential_is_malformed(providers, samples, spoil):
    document = json.loads(samples.SAMPLES["codex"]["whole"]["credential"])
    spoil(document["tokens"])
    assert code_of(providers.get("codex"), captured({"credential": json.dumps(document)})) is Code.CREDENTIAL_MALFORMED


def test_a_file_that_the_definition_does_not_know_is_not_stored(providers, samples):
    files = captured(samples.SAMPLES["codex"]["whole"]) | {"extra": CapturedFile(b"DUMMY-extra")}
    parsed = providers.get("codex").parse(files)
    assert b"DUMMY-extra" not in parsed.bundle
    assert parsed.warnings == ("a file 'extra' was sent that is not defined",)


@pytest.mark.parametrize("account", ["a\u202eb@example.com", "a\x1b[31m", "x" * 300, "", "a\nb", 5, ["a"]])
def test_an_account_that_cannot_be_shown_is_left_out(providers, samples, account):
    document = json.loads(samples.SAMPLES["codex"]["whole"]["credential"])
    document["tokens"]["id_token"] = samples.token(email=account)
    parsed = providers.get("codex").parse({"credential": CapturedFile(json.dumps(document).encode())})
    assert parsed.claims.account is None


@pytest.mark.parametrize("token", ["DUMMY", "a.b.c", "eyJhbGciOiJub25lIn0.W10.", "..", "é.é.é"])
def test_a_token_that_is_no_jwt_costs_the_claims_and_not_the_capture(providers, samples, token):
    document = json.loads(samples.SAMPLES["codex"]["whole"]["credential"])
    document["tokens"]["id_token"] = document["tokens"]["access_token"] = token
    parsed = providers.get("codex").parse({"credential": CapturedFile(json.dumps(document).encode())})
    assert (parsed.claims.account, parsed.claims.plan, parsed.claims.expires_at) == (None, None, None)


@pytest.mark.parametrize("expires", [float(2**70), -(2**60), 10**30])
def test_an_expiry_beyond_all_calendars_is_left_out(providers, samples, expires):
    document = json.loads(samples.SAMPLES["gemini"]["whole"]["credential"])
    document["expiry_date"] = expires
    parsed = providers.get("gemini").parse({"credential": CapturedFile(json.dumps(document).encode())})
    assert parsed.claims.expires_at is None


def test_neither_files_nor_results_print_what_they_hold(providers, samples):
    files = captured(samples.SAMPLES["gemini"]["whole"])
    assert "DUMMY" not in repr(files) + repr(providers.get("gemini").parse(files))


@given(st.sampled_from(IDS), st.binary(max_size=400))
def test_whatever_the_bytes_are_only_provider_errors_come(provider, content):
    with pytest.raises(ProviderError):
        LOADED.get(provider).parse({"credential": CapturedFile(content)})


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
fields = {
    "codex": ("tokens", ["id_token", "access_token", "refresh_token", "account_id"]),
    "claude_code": ("claudeAiOauth", ["accessToken", "refreshToken", "expiresAt", "scopes", "subscriptionType"]),
}


@given(st.data(), st.sampled_from(sorted(fields)))
def test_whatever_the_values_are_a_file_is_taken_or_refused_and_its_secrets_stay_unquoted(data, provider):
    top, names = fields[provider]
    inner = {name: data.draw(json_values, name) for name in names}
    secret = "DUMMY-secret-that-must-not-show"
    inner["hidden"] = secret
    content = json.dumps({top: inner}).encode()
    try:
        said = repr(LOADED.get(provider).parse({name: CapturedFile(content) for name in ("credential", "settings")}))
    except ProviderError as error:
        said = str(error)
    assert secret not in said


@given(st.sampled_from(IDS), st.integers(min_value=0))
def test_f038_no_beginning_of_a_whole_file_is_taken_for_the_whole(provider, cut):
    from_guest = WHOLE[provider]
    with pytest.raises(ProviderError):
        LOADED.get(provider).parse({"credential": CapturedFile(from_guest[: cut % len(from_guest)])})


WHOLE = {
    "codex": b'{"tokens":{"id_token":"DUMMY","access_token":"DUMMY","refresh_token":"DUMMY"}}',
    "claude_code": b'{"claudeAiOauth":{"accessToken":"DUMMY","refreshToken":"DUMMY","expiresAt":1,"scopes":[]}}',
    "gemini": b'{"access_token":"DUMMY","refresh_token":"DUMMY","expiry_date":1}',
}
