import copy
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import antechamber
from antechamber.credential_life import CredentialFact
from antechamber.egress import Verdict
from antechamber.errors import CallerError, Code, OperatorError
from antechamber.machine import Capabilities
from antechamber.model import Actor, AuditAction, CredentialReason, CredentialStatus, Purpose, Reason
from antechamber.providers import Providers
from antechamber.texts import Languages, as_toml, english, leaves, speak, speaking, whole

WEB = Path(antechamber.__file__).parent / "web"
PROVIDERS = {
    spec.id: {"notices": list(spec.notices), "captures": list(spec.captures)} for spec in Providers.load().all()
}


def pattern():
    return copy.deepcopy(whole(PROVIDERS))


def languages(folder, table, tag="xx", **options):
    (folder / f"{tag}.toml").write_text(as_toml(table))
    return Languages.load(folder, **options)


@pytest.mark.parametrize("reason", Reason)
def test_f100_every_reason_has_a_safe_sentence_and_a_next_step(reason):
    told = english().reasons[reason]
    assert told.message.endswith(".")
    assert told.next.endswith(".")


@pytest.mark.parametrize("reason", Reason)
def test_what_the_operator_reads_of_a_reason_does_not_speak_to_the_person(reason):
    told, dashboard = english().reasons[reason], english().pages["dashboard"]
    message = dashboard["reasons"].get(reason, told.message)
    following = dashboard["reasonsNext"].get(reason, told.next)
    assert not re.search(r"\b(?:[Yy]ou|whoever runs)\b", f"{message} {following}")


def test_all_that_can_be_of_a_credential_has_words():
    words = english().pages["dashboard"]["credential"]
    assert set(words["statuses"]) == set(words["next"]) == {str(status) for status in CredentialStatus}
    assert set(words["reasons"]) == {str(reason) for reason in CredentialReason}
    assert set(words["facts"]) == {str(fact) for fact in CredentialFact}
    assert set(words["accounts"]) == {"first", "same", "replaced", "unknown"}


def test_all_that_is_done_with_a_credential_has_words():
    done = english().pages["signIn"]["done"]
    assert set(done["actions"]) == {action for action in AuditAction if action.startswith("credential_")}
    assert set(done["purposes"]) == set(Purpose)
    assert set(done["actors"]) == set(Actor)


def test_all_that_can_become_of_a_destination_has_words():
    pages = english().pages
    said = set(map(str, Verdict))
    assert set(pages["signIn"]["details"]["verdicts"]) == set(pages["dashboard"]["verdicts"]) == said


def test_every_isolation_that_a_driver_can_name_has_words():
    named = set(re.findall(r"`(\w+)`", re.search(r"One of (.*?);", _source_of_capabilities())[1]))
    assert set(english().isolation) == named


def _source_of_capabilities():
    return (Path(antechamber.__file__).parent / "machine.py").read_text().partition(Capabilities.__name__)[2]


def test_a_file_with_the_whole_pattern_is_a_whole_language(tmp_path):
    table = pattern()
    table["direction"] = "rtl"
    found = languages(tmp_path, table)
    assert found.faults() == []
    texts = found.choose("xx")
    assert (texts.language, texts.direction) == ("xx", "rtl")
    assert texts.pages == english().pages
    assert texts.reasons == english().reasons


def test_what_a_file_lacks_is_said_in_english_and_each_fault_is_told(tmp_path):
    table = pattern()
    del table["pages"]["brand"]
    table["pages"]["common"] = {"close": "Zu", "nonsense": "Unsinn"}
    table["pages"]["time"] = {**table["pages"]["time"], "left": "{uhr} noch", "minutes": "{n} Minuten"}
    table["reasons"] = {}
    texts = languages(tmp_path, table).choose("xx")
    pages = leaves(texts.pages)
    assert pages["brand"] == "Antechamber"
    assert (pages["common.close"], pages["common.skip"]) == ("Zu", "Skip to the main part")
    assert (pages["time.left"], pages["time.minutes"]) == ("{clock} left", "{n} Minuten")
    assert texts.reasons == english().reasons
    told = "\n".join(texts.faults)
    assert "xx: pages.brand is missing, so it is said in English" in told
    assert "xx: there is no text pages.common.nonsense" in told
    assert "xx: the places of pages.time.left must be {clock}, so it is said in English" in told
    assert f"xx: reasons.{Reason.SUPERSEDED}.next is missing" in told


def test_an_error_is_translated_by_its_code_and_a_sentence_made_for_the_occasion_stays(tmp_path):
    table = pattern()
    table["errors"]["session_ended"] = {"message": "Vorbei.", "next": "Noch einmal."}
    texts = languages(tmp_path, table).choose("xx")
    assert texts.error(CallerError(Code.SESSION_ENDED)) == ("Vorbei.", "Noch einmal.")
    assert texts.error(CallerError(Code.SESSION_ENDED, message="Since noon.")) == ("Since noon.", "Noch einmal.")
    plain = CallerError(Code.SESSION_ENDED)
    assert english().error(plain) == (plain.message, plain.next)


def test_a_provider_s_sentences_are_taken_only_when_there_are_as_many(tmp_path):
    table = pattern()
    table["providers"] = {"codex": {"notices": ["Eins.", "Zwei."], "captures": ["Eins."]}}
    texts = languages(tmp_path, table).choose("xx")
    assert texts.of_provider("codex", "notices", ["One.", "Two."]) == ["Eins.", "Zwei."]
    assert texts.of_provider("codex", "captures", ["One.", "Two."]) == ["One.", "Two."]
    assert texts.of_provider("gemini", "notices", ["One."]) == ["One."]


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        (None, "en"),
        ("", "en"),
        ("xx", "xx"),
        ("XX-YY", "xx"),
        ("fr, xx;q=0.5, en;q=0.4", "xx"),
        ("xx;q=0.2, en-GB;q=0.9", "en"),
        ("xx;q=0, en;q=0", "en"),
        ("fr", "en"),
        ("*", "en"),
        (";;;,=,q", "en"),
        ("x" * 10_000 + ",xx", "en"),
    ],
)
def test_the_language_is_what_the_browser_likes_best_of_those_there_are(tmp_path, accepted, chosen):
    assert languages(tmp_path, pattern()).choose(accepted).language == chosen


WISHED = st.text("abcxyenABCXYEN-*;q=, .019\t", max_size=60) | st.text(st.characters(max_codepoint=255), max_size=600)


# the languages are read anew for each example, and are the same each time
@settings(max_examples=200, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(WISHED)
def test_whatever_a_browser_accepts_it_is_answered_in_a_language_that_there_is(tmp_path, accepted):
    told = languages(tmp_path, pattern()).choose(accepted)
    assert told.language in {"en", "xx"}
    if told.language == "xx":
        assert "xx" in accepted.lower()


def test_a_fixed_language_is_spoken_with_everybody(tmp_path):
    assert languages(tmp_path, pattern(), fixed="xx").choose("en").language == "xx"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("xx.toml", "= nonsense", "cannot be read"),
        ("xx.toml", 'direction = "up"', "ltr or rtl"),
        ("notes of mine.toml", "", "language tag"),
    ],
)
def test_a_file_that_is_none_is_refused_with_its_name(tmp_path, name, content, said):
    (tmp_path / name).write_text(content)
    with pytest.raises(OperatorError, match=said) as refused:
        Languages.load(tmp_path)
    assert refused.value.code is Code.MISCONFIGURED
    assert name.removesuffix(".toml") in refused.value.message


def test_a_folder_without_any_texts_or_with_another_english_is_refused(tmp_path):
    with pytest.raises(OperatorError, match="holds none"):
        Languages.load(tmp_path / "nowhere")
    with pytest.raises(OperatorError, match="holds none"):
        Languages.load(tmp_path)
    (tmp_path / "en.toml").write_text("")
    with pytest.raises(OperatorError, match="the package's own"):
        Languages.load(tmp_path)


def test_texts_that_others_may_write_to_are_refused(tmp_path):
    (tmp_path / "de.toml").write_text('name = "Deutsch"')
    assert "de" in Languages.load(tmp_path).texts
    (tmp_path / "de.toml").chmod(0o666)
    with pytest.raises(OperatorError, match=f"{tmp_path}/de.toml: others may write to it"):
        Languages.load(tmp_path)
    (tmp_path / "de.toml").chmod(0o644)
    tmp_path.chmod(0o777)
    with pytest.raises(OperatorError, match=f"{tmp_path}: others may write to it"):
        Languages.load(tmp_path)


def test_a_providers_texts_that_are_no_strings_are_said_in_english(tmp_path):
    (tmp_path / "de.toml").write_text("[providers.codex]\nnotices = [{a = 1}]")
    assert Languages.load(tmp_path).texts["de"].of_provider("codex", "notices", ["One."]) == ["One."]


def test_a_fixed_language_that_there_is_not_is_refused():
    with pytest.raises(OperatorError, match="no texts in the language tlh"):
        Languages.load(fixed="tlh")


def test_within_an_answer_its_language_is_spoken_and_english_outside(tmp_path):
    texts = languages(tmp_path, pattern()).choose("xx")
    with speak(texts):
        assert speaking() is texts
    assert speaking() is english()


def test_every_text_is_used_and_every_used_text_exists():
    names = leaves(english().pages)
    sources = [*(WEB / "templates").glob("*.html"), *(WEB / "static").glob("**/*.js")]
    source = "\n".join(path.read_text() for path in sources if "vendor" not in path.parts)
    used = set(re.findall(r"(?:data-(?:text|label|hint)=|say(?:If)?\(\s*)[\"'`]([\w.]+)[\"'`]", source))
    used |= set(re.findall(r"texts\.pages\.([\w.]+)", source))
    assert used - set(names) == set()
    literal = set(re.findall(r"[\"'`]([\w.]+)[\"'`]", source)) | used
    chosen = tuple(set(re.findall(r"`([\w.]+\.\w*)\$\{", source)))
    assert [name for name in names if name not in literal and not name.startswith(chosen)] == []
