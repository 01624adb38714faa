"""A translation is one file: with it no English is left in any state of any page."""

import re

import pytest

from tests.browser.conftest import WORKSPACES
from tests.browser.pseudo import TAG, outside
from tests.browser.states import LONG, STATES
from tests.integration.web_service import error_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

SHOWN = """() => {
  // times are written by the browser for its language; code is typed as it is; a driver speaks to its operator
  document.querySelectorAll('time, .code, code, [lang=en]').forEach((element) => element.replaceChildren());
  const named = [...document.querySelectorAll('[aria-label], [title], [placeholder], [alt]')]
    .filter((element) => element.checkVisibility() && !element.matches('time'))
    .flatMap((element) => ['aria-label', 'title', 'placeholder', 'alt'].map((name) => element.getAttribute(name)))
    .filter(Boolean);
  return [document.body.innerText, document.title, ...named];
}"""
FOREIGN = re.compile(
    r"\b(?:Claude Code|Codex|Gemini CLI|Anthropic|OpenAI|Google|me|ada|build-farm|somebody|Ada|here|scripted|plus"
    r"|Acme Builds|Acme Unlimited|Acme|(?:ann\.of\.the\.operators)+@example\.com|(?:https://)?issuer\.example|ann|localhost|k\d"
    rf"|kB|MB|B|{LONG}|{'|'.join(WORKSPACES)}|(?:ses|mac|cred|inc)_\w+|[0-9a-z]{{8}}|person@example\.com|[\w.-]+\.(?:com|org|ai|net)[/\w.-]*"
    # what the tests' own refusals and machines say
    r"|It was refused\. Do something else\.|It was refused\.|Do something else\."
    r"|the machine's first program was killed by signal 9)(?!\w)"
)


@pytest.mark.parametrize("name", STATES)
async def test_no_english_is_left_in_any_state_of_a_page(people, name):
    person = await people(locale=TAG)
    page = await STATES[name].enter(person, people)
    assert await page.evaluate("[document.documentElement.lang, document.documentElement.dir]") == [TAG, "rtl"]
    left = [FOREIGN.sub("", outside(text)) for text in await page.evaluate(SHOWN)]
    assert [text for text in left if re.search(r"[A-Za-z]{2,}", text)] == []


async def test_whoever_s_browser_wants_another_language_is_answered_in_english(people):
    page = await (await people(locale="fr-FR")).dashboard("/health")
    await page.get_by_role("heading", name="Health", level=1).wait_for()
    assert await page.evaluate("[document.documentElement.lang, document.documentElement.dir]") == ["en", "ltr"]


async def test_errors_of_the_api_follow_the_language_and_say_that_they_do(service):
    path = "/api/auth/session/ses_00000000000000000000"
    operator = await service.operator()
    english = await operator.get(path)
    assert error_of(english) == (404, "session_not_found")
    assert english.json()["error"]["message"] == "There is no such session."
    assert (english.headers["content-language"], english.headers["vary"]) == ("en", "Accept-Language")
    other = await operator.get(path, headers={"Accept-Language": f"{TAG}, en;q=0.5"})
    assert error_of(other) == (404, "session_not_found")
    assert outside(other.json()["error"]["message"] + other.json()["error"]["next"]) == ""
    assert other.headers["content-language"] == TAG


async def test_the_texts_are_kept_by_the_browser_until_they_change(service):
    stranger = await service.stranger()
    first = await stranger.get("/static/texts.js")
    assert first.headers["vary"] == "Accept-Language"
    again = await stranger.get("/static/texts.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = await stranger.get("/static/texts.js", headers={"Accept-Language": TAG})
    assert other.headers["etag"] != first.headers["etag"]
