"""The form of a provider's definition: every field of its TOML file, with its meaning, checked all at once.

A field that is not listed here is an error in a definition. (In a file that a *vendor's tool* wrote it is a warning:
see `capture.py`.)
"""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from antechamber.guest.protocol import MAX_CREDENTIAL
from antechamber.providers.paths import ValueType, split

CREDENTIAL: Final = "credential"
"""The name of the one file that a sign-in is about, in jobs, reports and bundles."""


def _path_below_home(path: str) -> str:
    if not re.fullmatch(r"~(/[A-Za-z0-9._-]+)+", path) or ".." in path.split("/"):
        raise ValueError("must begin with ~/ and hold only letters, digits, dots, - and _")
    return path


def _json_path(path: str) -> str:
    split(path)
    return path


def _expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from error
    return text


def _host(name: str) -> str:
    if not re.fullmatch(r"(\*\.)?([a-z0-9-]+\.)+[a-z]+", name):
        raise ValueError("must be a host name in lower case, such as auth.example.com or *.example.com")
    return name


HomePath = Annotated[str, AfterValidator(_path_below_home)]
JsonPath = Annotated[str, AfterValidator(_json_path)]
Expression = Annotated[str, AfterValidator(_expression)]
Host = Annotated[str, AfterValidator(_host)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,30}$")]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Sentence = Annotated[str, Field(pattern=r"^[A-Z].*[.]$", max_length=300)]
WebAddress = Annotated[str, Field(pattern=r"^https://[a-z0-9.-]+(/\S*)?$", max_length=300)]
Argument = Annotated[str, Field(min_length=1, max_length=500)]
Bytes = Annotated[int, Field(gt=0, le=MAX_CREDENTIAL)]


class Table(BaseModel):
    """A table of a definition: unknown fields are errors, and nothing is converted silently."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Terms(Table):
    """The vendor's terms, and what an operator may turn on after reading them."""

    url: WebAddress = Field(description="Where the vendor publishes its terms.")
    read_on: date | None = Field(
        None, description="The day somebody of this project read the live page; absent: nobody has."
    )
    reveal: Literal[False] = Field(
        default=False, description="Whether plain text may be given out; always false in a definition."
    )
    unattended: Literal[False] = Field(
        default=False, description="Whether it may be refreshed with nobody there; always false in a definition."
    )


class Install(Table):
    """The vendor's tool, as npm brings it or from a folder of your own."""

    package: str | None = Field(None, min_length=1, description="Name of the npm package, for people.")
    version: str = Field(
        pattern=r"^\d+\.\d+\.\d+$",
        description="The pinned version; where npm brings the tool, the lock must hold it too.",
    )
    npm: str | None = Field(
        None,
        pattern=r"^[a-z0-9_/-]+$",
        description="Folder beside the definition with package.json and package-lock.json; this or folder.",
    )
    folder: str | None = Field(
        None,
        pattern=r"^/?[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$",
        description="Folder with the tool, beside the definition or by its whole path; it is copied. This or npm.",
    )
    sha256: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{64}$",
        description="For folder: one hash of all its files; installing says which it is.",
    )
    program: str = Field(
        pattern=r"^[^\s/][^\s]*$",
        description="The program's path in the installed folder, below node_modules/ where npm brings it;"
        " {arch} is x64 or arm64, {machine} x86_64 or aarch64.",
    )
    needs_node: bool = Field(description="Whether the program is JavaScript and is started by Node.")
    unpacked_mib: int = Field(gt=0, description="Size of the installed folder in MiB, for the progress bar.")

    @model_validator(mode="after")
    def _fits(self) -> Install:
        faults = []
        if (self.npm is None) == (self.folder is None):
            faults.append("needs either npm or folder")
        if (self.npm is None) != (self.package is None):
            faults.append("package goes with npm, and only with it")
        if (self.folder is None) != (self.sha256 is None):
            faults.append("sha256 goes with folder, and only with it")
        if ".." in (*self.program.split("/"), *(self.folder or "").split("/")):
            faults.append("no path may hold ..")
        if self.npm is not None and not self.program.startswith("node_modules/"):
            faults.append("npm brings programs below node_modules/ only")
        if faults:
            raise ValueError("; ".join(faults))
        return self


class Answer(Table):
    """One prompt of a tool in a pty, and what is typed."""

    expect: Expression = Field(description="Regular expression that the tool's output must match.")
    send: str = Field(max_length=200, description="Text that is then typed, with its line end.")


class Drive(Table):
    """How the tool is driven."""

    how: Literal["plain", "pty", "acp"] = Field(
        description="plain: started and left alone; pty: on a terminal; acp: by JSON-RPC on standard input."
    )
    answers: list[Answer] = Field([], description="For pty: prompts and their answers, in order.")
    acp_method: str | None = Field(None, description="For acp: the methodId of `authenticate`.")

    @model_validator(mode="after")
    def _fits(self) -> Drive:
        if (self.how == "acp") != (self.acp_method is not None):
            raise ValueError('acp_method goes with how = "acp", and only with it')
        if self.answers and self.how != "pty":
            raise ValueError('answers go with how = "pty" only')
        return self


class Callback(Table):
    """Where the tool listens for the browser's return."""

    port: Literal["fixed", "random", "none"] = Field(description="Whether the port is always the same.")
    ports: list[Annotated[int, Field(ge=1, le=65535)]] = Field([], description="The fixed ports, first choice first.")

    @model_validator(mode="after")
    def _fits(self) -> Callback:
        if (self.port == "fixed") != bool(self.ports):
            raise ValueError('ports go with port = "fixed", and only with it')
        return self


class Seed(Table):
    """A file that is put into the machine's home before the tool starts."""

    path: HomePath = Field(description="Where.")
    mode: Annotated[int, Field(ge=0o400, le=0o700)] = Field(0o600, description="Its mode.")
    text: str | None = Field(None, max_length=16_384, description="Its content as it is; this or json.")
    json_: dict[str, Any] | None = Field(None, alias="json", description="Its content as JSON; this or text.")

    @model_validator(mode="after")
    def _fits(self) -> Seed:
        if (self.text is None) == (self.json_ is None):
            raise ValueError("needs either text or json")
        return self


class SignIn(Table):
    """The vendor's own sign-in, as its tool does it."""

    arguments: list[Argument] = Field(description="What follows the program on its command line.")
    drive: Drive = Field(description="How the tool is driven.")
    callback: Callback = Field(description="Where it listens.")
    display: bool = Field(description="Whether the tool itself looks for DISPLAY before it opens a page.")
    page_wait_s: Annotated[int, Field(gt=0, le=300)] = Field(
        45, description="Seconds within which the tool must ask for a page."
    )
    companion_wait_ms: Annotated[int, Field(ge=0, le=2000)] = Field(
        500, description="Milliseconds for companions to become whole once the credential is."
    )
    hosts: list[Host] = Field(min_length=1, description="Hosts that a sign-in is known to need.")
    background_hosts: list[Host] = Field([], description="Hosts that the tool asks for besides; not of the sign-in.")
    env: dict[Variable, str] = Field({}, description="Environment variables; $HOME in a value is expanded.")
    clear_env: list[Variable] = Field([], description="Environment variables that must not be set.")
    seed: list[Seed] = Field([], description="Files that are there before the sign-in.")


class Command(Table):
    """A subcommand that a run may use; without words the bare tool."""

    words: str = Field(
        "",
        pattern=r"^([a-z][a-z0-9-]*( [a-z][a-z0-9-]*)*)?$",
        description="Its words, which stand first among the arguments; empty: the tool without a subcommand.",
    )
    prompt: bool = Field(default=False, description="Whether one argument that is no option may follow: a prompt.")
    in_person: bool = Field(
        default=False,
        description="Whether the owner must allow it in person; whatever follows it is then not looked at.",
    )


class Option(Table):
    """An option that a run may use."""

    name: str = Field(pattern=r"^--[A-Za-z0-9][A-Za-z0-9-]*$", description="Its long name.")
    short: str | None = Field(None, pattern=r"^-[A-Za-z0-9]$", description="Its short name, of one letter.")
    value: Literal["none", "one", "joined"] = Field(
        "none",
        description="none: it is a switch; one: it takes a value, after it or after =; joined: only after =, because"
        " the tool takes several, or none, of what follows.",
    )
    values: Expression | None = Field(
        None, description="Regular expression that the whole value must match; absent: any text."
    )
    commands: list[str] = Field([""], min_length=1, description="The subcommands that it may follow, by their words.")
    in_person: bool = Field(default=False, description="Whether the owner must allow it in person.")

    @model_validator(mode="after")
    def _fits(self) -> Option:
        if self.value == "none" and self.values is not None:
            raise ValueError("values go with an option that takes one")
        return self


class Run(Table):
    """The tool at work with a stored credential."""

    env: dict[Variable, str] = Field({}, description="Environment variables; $HOME in a value is expanded.")
    seed: list[Seed] = Field([], description="Files besides the credential that a signed-in home needs.")
    arguments: list[Argument] = Field([], description="What stands before the caller's arguments in every run.")
    commands: list[Command] = Field([Command()], min_length=1, description="Subcommands that a run may use.")
    options: list[Option] = Field([], description="Options that a run may use; what is not listed is refused.")
    hosts: list[Host] = Field([], description="Hosts that a run reaches, and no others.")
    renewal_hosts: list[Host] = Field(
        [],
        description="Those of them at which the tool renews its credential: from a connection there until what came"
        " of it is stored, the stored one may be used up.",
    )
    one_shot: list[Argument] = Field(
        [], description="Arguments that ask one question and end: {prompt} is its place. Absent: it has no such way."
    )
    version: list[Argument] = Field(
        [], description="Arguments that print the version without a network and without a credential."
    )

    @model_validator(mode="after")
    def _fits(self) -> Run:
        faults = []
        words = [command.words for command in self.commands]
        faults += [f"lists the subcommand {word!r} twice" for word in sorted({w for w in words if words.count(w) > 1})]
        for word in dict.fromkeys(words):
            names = [
                name
                for option in self.options
                if word in option.commands
                for name in (option.name, option.short)
                if name is not None
            ]
            faults += [f"lists {name} twice for {word!r}" for name in sorted({n for n in names if names.count(n) > 1})]
        for option in self.options:
            faults += [
                f"lets {option.name} follow {word!r}, which is no listed subcommand"
                for word in option.commands
                if word not in words
            ]
        faults += [f"reaches {host}: a run's hosts are named one by one" for host in self.hosts if host[0] == "*"]
        faults += [
            f"renews at {host}, which is none of its hosts" for host in self.renewal_hosts if host not in self.hosts
        ]
        if self.one_shot and self.one_shot.count("{prompt}") != 1:
            faults.append("one_shot needs {prompt} once, as an argument of its own")
        if faults:
            raise ValueError("; ".join(faults))
        return self


class Kept(Table):
    """One value of a JSON file."""

    path: JsonPath = Field(description="Dotted path of names.")
    type: Annotated[ValueType, Field(strict=False)] = Field(
        description="Its type: string, number, boolean, strings or timestamp."
    )
    required: bool = Field(default=False, description="Whether the file is not whole without it.")
    null: bool = Field(default=False, description="Whether it may be null instead.")
    max: Annotated[int, Field(gt=0, le=65_536)] = Field(
        16_384, description="Longest text in characters, also of each text in a list."
    )

    @model_validator(mode="after")
    def _fits(self) -> Kept:
        if self.required and self.null:
            raise ValueError("a required value cannot be null")
        return self


class Source(Table):
    """One place where a claim may stand."""

    file: str = Field(CREDENTIAL, description="`credential` or a companion's name.")
    path: JsonPath = Field(description="Dotted path of the value in that file.")
    jwt: list[str] = Field([], description="When the value is a JWT: the names that lead to the claim in it.")
    unit: Literal["text", "s", "ms", "iso"] = Field(
        "text", description="For expiry: seconds or milliseconds since 1970, or ISO 8601; text for account and plan."
    )


class Shape(Table):
    """One form that the credential file is known to have."""

    name: str = Field(min_length=1, description="For people: which versions write it.")
    fields: list[Kept] = Field(min_length=1, description="Every value of it, required or not.")
    account: list[Source] = Field([], description="Where the account is; the first that is there counts.")
    plan: list[Source] = Field([], description="Where the plan is.")
    expires: list[Source] = Field([], description="When the access token ends.")
    renewed_by: JsonPath | None = Field(
        None,
        description="Path of what lets the tool renew the access token without its person, a refresh token: while it is"
        " there, the end of the access token asks for no sign-in.",
    )
    renewal_expires: list[Source] = Field([], description="When that itself ends, where the file says so.")

    @model_validator(mode="after")
    def _fits(self) -> Shape:
        paths = [field.path for field in self.fields]
        twice = sorted({path for path in paths if paths.count(path) > 1})
        if twice:
            raise ValueError(f"lists {', '.join(twice)} twice")
        if not any(field.required for field in self.fields):
            raise ValueError("no field is required: any file would be whole")
        wrong = [source.path for source in (*self.expires, *self.renewal_expires) if source.unit == "text"]
        if wrong:
            raise ValueError(f"an expiry needs a unit: {', '.join(wrong)}")
        if self.renewed_by is not None and self.renewed_by not in paths:
            raise ValueError(f"is renewed by {self.renewed_by}, which is none of its fields")
        if self.renewal_expires and self.renewed_by is None:
            raise ValueError("says when its renewal ends, and not by what it is renewed")
        return self


class Credential(Table):
    """The credential file."""

    path: HomePath = Field(description="Where the tool writes it.")
    mode: Annotated[int, Field(ge=0o400, le=0o700)] = Field(0o600, description="Its mode when it is put back.")
    written: Literal["rename", "in_place"] = Field(description="How the tool writes it.")
    max_bytes: Bytes = Field(65_536, description="A larger file is refused.")
    shapes: list[Shape] = Field(
        min_length=1, description="Its known forms; the first is what the pinned version writes."
    )


class Companion(Table):
    """A file beside the credential, of which a few values are kept and nothing else."""

    path: HomePath = Field(description="Where the tool writes it.")
    mode: Annotated[int, Field(ge=0o400, le=0o700)] = Field(0o600, description="Its mode when it is put back.")
    written: Literal["rename", "in_place"] = Field(description="How the tool writes it.")
    max_bytes: Bytes = Field(65_536, description="A larger file is left out.")
    keep: list[Kept] = Field(min_length=1, description="The values that are kept; required ones are waited for.")


class Check(Table):
    """Whether the tool itself accepts a stored credential, found out without any network."""

    arguments: list[Argument] | None = Field(None, description="What follows the program; this or parse.")
    accept_code: int = Field(0, description="Exit code of an accepted credential.")
    accept_json: dict[str, bool | int | str] = Field({}, description="Values that the tool's JSON output must have.")
    parse: Literal["gemini"] | None = Field(
        None, description="For tools without such a command: the guest's own parser of that name."
    )

    @model_validator(mode="after")
    def _fits(self) -> Check:
        if (self.arguments is None) == (self.parse is None):
            raise ValueError("needs either arguments or parse")
        return self


class Definition(Table):
    """A provider's definition: one TOML file."""

    id: Name = Field(description="The one canonical id; also the file's name.")
    name: str = Field(min_length=1, max_length=40, description="What people call the tool.")
    vendor: str = Field(min_length=1, max_length=40, description="Who makes it.")
    aliases: list[Name] = Field([], description="Other ids that callers use for it; never one with a plan in it.")
    notices: list[Sentence] = Field(description="What the person must know before Connect, in sentences.")
    captures: list[Sentence] = Field(min_length=1, description="What is captured, in sentences, for the consent text.")
    revoke_url: WebAddress = Field(description="Where the person ends the sign-in at the vendor.")
    terms: Terms = Field(description="The vendor's terms.")
    install: Install = Field(description="The vendor's tool, as npm brings it or from a folder of your own.")
    sign_in: SignIn = Field(description="The vendor's own sign-in.")
    run: Run = Field(description="The tool at work with a stored credential.")
    credential: Credential = Field(description="The credential file.")
    companions: dict[Name, Companion] = Field({}, description="Files beside it, by a name of our own.")
    check: Check = Field(description="The offline check.")

    @model_validator(mode="after")
    def _fits(self) -> Definition:
        faults = []
        if CREDENTIAL in self.companions:
            faults.append(f"a companion cannot be called {CREDENTIAL}")
        paths = [self.credential.path, *(companion.path for companion in self.companions.values())]
        if len(set(paths)) != len(paths):
            faults.append("two files have one path")
        known = {CREDENTIAL: None, **{name: {kept.path for kept in c.keep} for name, c in self.companions.items()}}
        for shape in self.credential.shapes:
            own = {field.path for field in shape.fields}
            for source in (*shape.account, *shape.plan, *shape.expires, *shape.renewal_expires):
                if source.file not in known:
                    faults.append(f"shape {shape.name!r} names a file {source.file!r} that is not defined")
                elif source.path not in (known[source.file] or own):
                    faults.append(f"shape {shape.name!r} reads {source.file}:{source.path}, which is not kept")
        if faults:
            raise ValueError("; ".join(faults))
        return self
