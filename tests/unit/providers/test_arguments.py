"""A run's arguments: what is listed passes as it is written, and nothing else does, however it is spelt."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from antechamber.errors import Code
from antechamber.providers import Providers
from antechamber.providers.arguments import LONGEST, LONGEST_TOGETHER, MOST, Why, judge

PROVIDERS = {spec.id: spec.definition for spec in Providers.load().all()}
IDS = sorted(PROVIDERS)

REFUSED = {
    # by the tools' own --help and sources: signing in and out, set-up-token, overrides, servers, sandboxes, files
    "claude_code": [
        "--mcp-config",
        "--settings",
        "--setting-sources",
        "--strict-mcp-config",
        "--add-dir",
        "--dangerously-skip-permissions",
        "--allow-dangerously-skip-permissions",
        "--allowedTools",
        "--allowed-tools",
        "--tools",
        "--plugin-dir",
        "--plugin-url",
        "--agents",
        "--agent",
        "--continue",
        "--resume",
        "--remote-control",
        "--cloud",
        "--teleport",
        "--file",
        "--debug-file",
        "--bare",
        "--ide",
        "--chrome",
        "--background",
        "--worktree",
        "--tmux",
        "--permission-prompt-tool",
        "--sdk-url",
        "--session-tunnel",
        "--handle-uri",
    ],
    "codex": [
        "--config",
        "--enable",
        "--disable",
        "--profile",
        "--add-dir",
        "--cd",
        "--oss",
        "--local-provider",
        "--remote",
        "--remote-auth-token-env",
        "--image",
        "--output-last-message",
        "--output-schema",
        "--trust",
        "--ignore-user-config",
        "--ignore-rules",
        "--approve-for-me",
        "--dangerously-bypass-approvals-and-sandbox",
        "--dangerously-bypass-hook-trust",
        "--worktree",
    ],
    "gemini": [
        "--yolo",
        "--skip-trust",
        "--sandbox",
        "--policy",
        "--admin-policy",
        "--acp",
        "--experimental-acp",
        "--allowed-mcp-server-names",
        "--allowed-tools",
        "--extensions",
        "--include-directories",
        "--session-file",
        "--delete-session",
        "--worktree",
        "--raw-output",
        "--record-responses",
        "--fake-responses",
        "--ignore-env",
        "--debug",
    ],
}
LETTERS = {"claude_code": "cdnrw", "codex": "cipCo", "gemini": "dsyewrl"}
SUBCOMMANDS = {
    "claude_code": [
        "auth",
        "setup-token",
        "mcp",
        "plugin",
        "update",
        "install",
        "doctor",
        "agents",
        "gateway",
        "daemon",
    ],
    "codex": [
        "login",
        "logout",
        "mcp",
        "mcp-server",
        "app-server",
        "sandbox",
        "exec-server",
        "cloud",
        "debug",
        "update",
    ],
    "gemini": ["mcp", "extensions", "extension", "skills", "hooks", "gemma"],
}
GOOD = {
    "claude_code": [
        [],
        ["-p", "what is here"],
        ["--print", "--model=opus[1m]", "--output-format", "json", "what is here"],
        ["what is here", "-p", "--verbose"],
        ["auth", "status", "--text"],
        ["--version"],
        ["-p", "--append-system-prompt=--be quick", "what is here"],
        ["--disallowedTools=Bash,Edit", "-p", "what is here"],
    ],
    "codex": [
        [],
        ["exec", "--skip-git-repo-check", "what is here"],
        ["exec", "-m", "gpt-6-luna", "--json", "what\nis here"],
        ["exec", "what is here", "--sandbox=read-only"],
        ["exec", "--skip-git-repo-check"],
        ["--search", "-a", "never"],
        ["login", "status"],
    ],
    "gemini": [
        [],
        ["-p", "hello"],
        ["--prompt=--yolo is what?", "-o", "json"],
        ["-i", "mcp", "--approval-mode", "plan"],
        ["what is here"],
    ],
}


@pytest.mark.parametrize(("provider", "argv"), [(p, argv) for p in IDS for argv in GOOD[p]], ids=str)
def test_what_is_listed_passes(provider, argv):
    assert judge(PROVIDERS[provider], argv) is None


@pytest.mark.parametrize("provider", IDS)
def test_a_providers_own_one_shot_and_version_pass(provider):
    run = PROVIDERS[provider].run
    for prompt in ("what is here", "x y"):
        assert judge(PROVIDERS[provider], [a.replace("{prompt}", prompt) for a in run.one_shot]) is None
    assert judge(PROVIDERS[provider], run.version) is None


def spellings(name, value):
    """Every way in which clap, commander or yargs might take a long option."""
    bare = name.removeprefix("--")
    words = bare.split("-")
    camel = words[0] + "".join(word.title() for word in words[1:])
    snake = bare.replace("-", "_")
    names = {name, f"--{camel}", f"--{snake}", f"--no-{bare}", f"-{bare}", f"--{bare.upper()}", f"---{bare}"}
    names |= {name[:end] for end in range(3, len(name))}  # shortened
    names |= {f"--{bare}.x", f"--x.{bare}", f"--{bare} "}
    return (
        [[n] for n in names] + [[n, value] for n in names] + [[f"{n}={value}"] for n in names] + [["--", name, value]]
    )


def letters(letter, value):
    """Every way in which they might take a letter."""
    plain = [[f"-{letter}"], [f"-{letter}", value], [f"-{letter}{value}"], [f"-{letter}={value}"]]
    return plain + [[f"-{other}{letter}"] for other in "phvmoi"] + [[f"-{letter}{other}"] for other in "phvmoi"]


@st.composite
def smuggled(draw):
    provider = draw(st.sampled_from(IDS))
    definition = PROVIDERS[provider]
    listed = {n for o in definition.run.options if not o.in_person for n in (o.name, o.short)}
    value = draw(st.sampled_from(["x", "x=y", "a b", "/etc", "{}", "-", "--"]))
    ways = [way for name in REFUSED[provider] for way in spellings(name, value)]
    ways += [way for letter in LETTERS[provider] for way in letters(letter, value)]
    way = draw(st.sampled_from(ways))
    # what is spelt exactly as a listed option is that one, for the tool as well
    assume(way[0] not in listed and way[0].partition("=")[0] not in listed)
    good = draw(st.sampled_from(GOOD[provider]))
    place = draw(st.integers(0, len(good)))
    return definition, [*good[:place], *way, *good[place:]]


@given(smuggled())
def test_no_refused_option_is_smuggled_by_another_spelling_or_at_another_place(case):
    definition, argv = case
    assert judge(definition, argv) is not None, argv


@given(st.sampled_from(IDS), st.data())
def test_no_subcommand_is_smuggled_behind_options_or_as_a_prompt(provider, data):
    word = data.draw(st.sampled_from(SUBCOMMANDS[provider]))
    good = data.draw(
        st.sampled_from([argv for argv in GOOD[provider] if argv[:1] not in (["exec"], ["auth"], ["login"])])
    )
    values = [o.name for o in PROVIDERS[provider].run.options if o.value == "one"]
    place = data.draw(st.sampled_from([n for n in range(len(good) + 1) if n == 0 or good[n - 1] not in values]))
    # `-i mcp`: the value of an option is no subcommand
    assume(place == 0 or good[place - 1] not in {o.short for o in PROVIDERS[provider].run.options if o.value == "one"})
    rest = data.draw(st.sampled_from([[], ["list"], ["add", "x", "sh"], ["--help"]]))
    argv = [*good[:place], word, *rest, *good[place:]]
    assert judge(PROVIDERS[provider], argv) is not None, argv


@given(
    st.sampled_from(IDS), st.lists(st.text(max_size=12) | st.sampled_from(["-p", "exec", "--model", "--", "-", "a b"]))
)
def test_what_passes_has_no_argument_with_a_dash_that_is_not_a_listed_options_name(provider, argv):
    run = PROVIDERS[provider].run
    if judge(PROVIDERS[provider], argv) is None:
        names = {n for o in run.options if not o.in_person for n in (o.name, o.short)}
        dashed = [a.partition("=")[0] for a in argv if a.startswith("-")]
        assert set(dashed) <= names
        assert len(set(dashed)) == len(dashed)


@given(st.sampled_from(IDS), st.lists(st.text(max_size=20), max_size=6), st.booleans())
def test_any_arguments_are_judged_and_no_refusal_tells_a_value(provider, argv, in_person):
    secret = "DUMMY-secret-0123456789"
    for argument in (f"--model={secret} x", f"-{secret}", f"--{secret}=x", secret, f"--{secret} x"):
        refusal = judge(PROVIDERS[provider], [*argv, argument], in_person=in_person)
        if refusal is not None:
            # the name of an option is told, which somebody may have put a secret into: not where it is no name
            assert secret not in refusal.message.replace(f"--{secret} is", "")
            assert secret not in refusal.next
            assert refusal.error().code is Code.ARGUMENT_REFUSED


@pytest.mark.parametrize(
    ("provider", "argv"),
    [
        ("codex", ["logout"]),
        ("codex", ["mcp", "add", "x", "--", "sh"]),
        ("codex", ["exec", "-c", "a=b", "what is here"]),
        ("codex", ["exec", "--dangerously-bypass-approvals-and-sandbox", "what is here"]),
        ("claude_code", ["setup-token"]),
        ("claude_code", ["auth", "logout"]),
        ("claude_code", ["--mcp-config=x.json", "-p", "what is here"]),
        ("claude_code", ["--settings", "x.json"]),
        ("gemini", ["mcp", "list"]),
        ("gemini", ["--yolo", "-p", "x"]),
    ],
    ids=str,
)
def test_what_the_owner_may_allow_in_person_is_refused_until_they_have(provider, argv):
    refusal = judge(PROVIDERS[provider], argv)
    assert refusal.why is Why.IN_PERSON
    assert refusal.next == "Leave it out."
    assert judge(PROVIDERS[provider], argv, in_person=True) is None


@pytest.mark.parametrize(
    ("provider", "argv"),
    [
        ("gemini", ["-p", "--yolo"]),
        ("gemini", ["--prompt", "-y", "--output-format", "json"]),
        ("claude_code", ["-p", "--append-system-prompt", "--settings=x", "what is here"]),
    ],
    ids=str,
)
def test_a_value_that_begins_with_a_dash_stands_behind_an_equals_sign_alone(provider, argv):
    """A parser that does not know the option before it reads it as one: gemini has a second parser, claude looks."""
    assert judge(PROVIDERS[provider], argv).why is Why.FORM


@pytest.mark.parametrize(
    ("provider", "argv"),
    [
        ("codex", ["update"]),
        ("codex", ["--remote", "ws://x"]),
        ("claude_code", ["--cloud"]),
        ("claude_code", ["install"]),
        ("gemini", ["--experimental-acp"]),
        ("claude_code", ["--allowedTools", "Bash", "what is here"]),  # it would take the prompt for a tool's name
    ],
    ids=str,
)
def test_what_is_not_listed_nobody_can_allow(provider, argv):
    assert judge(PROVIDERS[provider], argv, in_person=True) is not None


@pytest.mark.parametrize(
    ("argv", "argument", "why"),
    [
        (["exec", "--nonsense"], "--nonsense", Why.NOT_LISTED),
        (["exec", "x y", "z z"], "argument 3", Why.NOT_LISTED),
        (["exec", "resume"], "argument 2", Why.FORM),
        (["exec", "-mgpt"], "argument 2", Why.FORM),
        (["exec", "-m=gpt"], "-m", Why.FORM),
        (["exec", "-m"], "-m", Why.FORM),
        (["exec", "-m", "--json"], "-m", Why.FORM),
        (["exec", "--model="], "--model", Why.FORM),
        (["exec", "--model", "a b"], "--model", Why.FORM),
        (["exec", "--json=x"], "--json", Why.FORM),
        (["exec", "--json", "--json"], "--json", Why.FORM),
        (["exec", "-m", "a", "--model=b"], "--model", Why.FORM),
        (["exec", "--sandbox", "danger-full-access"], "--sandbox", Why.FORM),
        (["--json", "exec", "x y"], "--json", Why.NOT_LISTED),
        (["exec", "--"], "argument 2", Why.NOT_LISTED),
        (["exec", "-"], "argument 2", Why.NOT_LISTED),
        (["exec", ""], "argument 2", Why.FORM),
        (["exec", "x\0y z"], "argument 2", Why.FORM),
        (["exec", "x \udcff"], "argument 2", Why.FORM),
        (["FOO=bar"], "argument 1", Why.FORM),
        (["logout"], "subcommand logout", Why.IN_PERSON),
    ],
    ids=repr,
)
def test_a_refusal_names_the_argument_and_says_why(argv, argument, why):
    refusal = judge(PROVIDERS["codex"], argv)
    assert (refusal.argument, refusal.why) == (argument, why)
    assert refusal.message[0].isupper() or refusal.message[0] == "-"
    assert refusal.next.endswith(".")


def test_arguments_have_a_length_and_a_number():
    codex = PROVIDERS["codex"]
    assert judge(codex, ["exec", "x " + "y" * (LONGEST - 2)]) is None
    assert judge(codex, ["exec", "x " + "y" * (LONGEST - 1)]).why is Why.TOO_LONG
    assert judge(codex, ["exec", "x " + "\u00e9" * (LONGEST // 2)]).why is Why.TOO_LONG
    gemini = PROVIDERS["gemini"]
    assert judge(gemini, ["-p", "y" * LONGEST, "-i", "y" * LONGEST]).argument == "argument 4"
    assert LONGEST_TOGETHER == 2 * LONGEST
    assert judge(codex, ["exec"] + ["--json"] * MOST).argument == f"argument {MOST + 1}"
