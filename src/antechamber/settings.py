"""Every setting, once: the code reads it, the docs list it, a test checks that they agree.

Settings come from the environment (`ANTECHAMBER_…`) and from the command line; durations are seconds, and several words
are separated by commas.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping, MutableMapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, PlainValidator, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from antechamber.errors import Code, OperatorError
from antechamber.model import DEFAULT_APPLICATION, Secret
from antechamber.web_address import issuer_address, web_origin

PREFIX: Final = "ANTECHAMBER_"

ROOTS: Final = ("file", "environment", "transit", "kms")
"""The words for where keys can be."""

LONGEST_ISSUER: Final = 1024
"""Characters of an issuer's URL."""


def _words(given: object) -> object:
    """Cut what the environment gives; NoDecode keeps pydantic-settings from asking for JSON there."""
    return tuple(filter(None, map(str.strip, given.split(",")))) if isinstance(given, str) else given


def _secret(given: object) -> Secret | None:
    """Wrap what the environment gives; an empty variable is one that is not set."""
    if isinstance(given, Secret) or given is None:
        return given
    return Secret(str(given)) if given else None


def _root(word: str) -> tuple[str, Path]:
    application, separator, folder = word.partition("=") if not word.startswith("/") else ("", "", word)
    return (application if separator else DEFAULT_APPLICATION), Path(folder)


Seconds = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]
_HIDES: Final = PlainValidator(_secret)
Hidden = Annotated[Secret | None, NoDecode, _HIDES]
"""A secret: `read_settings` takes its variable out of the environment."""


class Settings(BaseSettings):
    """The settings of one service."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True, validate_default=True)

    world: Literal["serve", "demo"] = Field(
        "serve",
        description="Which world is meant: serve or demo; the commands of those names choose it themselves.",
    )
    data_dir: Path | None = Field(None, description="Where database, key and tokens lie; default by user and world.")
    run_dir: Path | None = Field(None, description="Where machines' folders lie; short, default by user.")
    shared_dir: Path | None = Field(
        None, description="Where what machines read lies (guest, Node, CLIs); default by user."
    )
    providers_dir: Path | None = Field(
        None, description="Folder of your own provider definitions, besides those that are shipped."
    )
    database_url: str | None = Field(
        None,
        # it may hold a password
        repr=False,
        description="Where the database is: sqlite:///PATH or postgresql://…; default the file `antechamber.db` in the"
        " data directory.",
    )
    database_owner_url: str | None = Field(
        None,
        # it may hold a password
        repr=False,
        description="For commands alone, never for a service: the database by the role that owns it, where the"
        " service's own may not; see docs/how-to/postgresql.md.",
    )

    roots: Words = Field(
        ("file",),
        min_length=1,
        description="Where the keys are that wrap the data keys of credentials: `file` (the file `key` in the data"
        " directory), `environment`, `transit` (OpenBao or HashiCorp Vault), `kms` (AWS KMS); several while keys move,"
        " and `antechamber keys rotate` seals with the last.",
    )
    keys: Hidden = Field(
        None,
        repr=False,
        description="For the root `environment`: the text of a key file. Taken out of the service's environment.",
    )
    root_s: Seconds = Field(
        5, gt=0, le=10, description="Time that a root that is a server has for an answer; then it is away."
    )
    transit_url: str | None = Field(
        None,
        description="For the root `transit`: base URL of the server, https://HOST[:PORT]; http on this computer alone.",
    )
    transit_mount: str = Field(
        "transit", pattern=r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$", description="Where the transit engine is mounted."
    )
    transit_key: str = Field("antechamber", pattern=r"^[A-Za-z0-9_.-]+$", description="Name of the key in the engine.")
    transit_namespace: str | None = Field(
        None, pattern=r"^[A-Za-z0-9_./-]+$", description="Namespace of the engine, where the server has several."
    )
    transit_token_file: Path | None = Field(
        None, description="File with the token for the server; read for each request, so it can be renewed."
    )
    transit_token: Hidden = Field(
        None,
        repr=False,
        description="The token itself, where there is no file. Taken out of the service's environment.",
    )
    transit_ca_file: Path | None = Field(
        None, description="File with the certificate authorities that the server's may be of; default the system's."
    )
    kms_keys: Words = Field(
        (),
        description="For the root `kms`: ARNs of keys of AWS KMS, the newest last; needs `antechamber[kms]`."
        " Credentials are found as AWS' programs find them.",
    )

    bind: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8700, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    dashboard_url: str | None = Field(
        None, description="Public base URL of dashboard and API, behind a proxy; default http://127.0.0.1:PORT."
    )
    sign_in_url: str | None = Field(
        None,
        description="Public base URL of the sign-in pages, another host than the dashboard's; default http://localhost:PORT.",
    )
    embed_origins: Words = Field(
        (),
        description="Origins whose pages may show the sign-in page in a frame, https://HOST[:PORT]; nobody's by"
        " default. Each is trusted with its person's clicks, see docs/how-to/embed.md.",
    )
    workspace_roots: Words = Field(
        (),
        description="Folders whose folders are workspaces, in which a run may work, read-only: /FOLDER for the"
        " operator's runs, app_…=/FOLDER for those of an application. See docs/how-to/workspaces.md.",
    )
    operator_token: bool = Field(
        default=True,
        description="Whether the token of the file `operator-token` opens the API; without it logins, applications'"
        " keys and `antechamber link` do. The command line asks the service itself and needs none.",
    )
    oidc_issuer: str | None = Field(
        None,
        max_length=LONGEST_ISSUER,
        description="Issuer by which operators sign in to the dashboard (OpenID Connect), as it writes its URL itself:"
        " https://HOST[:PORT][/PATH]; http on this computer alone. See docs/how-to/openid-connect.md.",
    )
    oidc_client_id: str | None = Field(None, min_length=1, description="This service's client id at the issuer.")
    oidc_client_secret: Hidden = Field(
        None,
        repr=False,
        description="Its client secret, where there is no file. Taken out of the service's environment.",
    )
    oidc_client_secret_file: Path | None = Field(
        None, description="File with the client secret; read for each login, so it can be changed."
    )
    oidc_name: str | None = Field(
        None,
        min_length=1,
        max_length=60,
        description="What the dashboard's button calls the issuer; default its host.",
    )
    oidc_scopes: Words = Field(
        ("openid", "email"), description="Scopes that are asked for; `openid` is one of them, and groups may need one."
    )
    oidc_subjects: Words = Field((), description="Who may come in: subjects (`sub`) at the issuer.")
    oidc_emails: Words = Field(
        (), description="Who may come in: e-mail addresses, where the issuer says that it has verified them."
    )
    oidc_claim: str | None = Field(
        None, min_length=1, description="Who may come in: name of a claim, such as `groups`; see the next one."
    )
    oidc_values: Words = Field((), description="Values of that claim, of which one is enough to come in.")
    oidc_ca_file: Path | None = Field(
        None, description="File with the certificate authorities that the issuer's may be of; default the system's."
    )
    oidc_s: Seconds = Field(5, gt=0, le=10, description="Time that the issuer has for an answer; then it is away.")
    oidc_login_s: Seconds = Field(
        43_200,
        gt=0,
        le=604_800,
        description="How long a login lasts; then the operator signs in again. Default 12 hours.",
    )
    metrics_bind: str | None = Field(
        None,
        description="Address and port, HOST:PORT, of a listener that serves GET /metrics and nothing else; "
        "without it the dashboard's address alone does.",
    )
    otlp_endpoint: str | None = Field(
        None,
        description="URL of an OpenTelemetry collector (OTLP over HTTP) that gets a trace of each sign-in; needs "
        "`antechamber[otel]`. The standard OTEL_EXPORTER_OTLP_… variables ask for it too.",
    )
    language: str | None = Field(
        None, description="Language of the pages and of errors for everybody; default what each browser asks for."
    )
    texts_dir: Path | None = Field(
        None, description="Folder with further languages, a file of texts each; see docs/how-to/translate.md."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level that is logged.")
    log_format: Literal["text", "json"] | None = Field(
        None, description="Form of the log: json, or text for a person; default text at a terminal, else json."
    )

    operator_name: str | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="Who runs this service, as the sign-in page says it to people before they agree; default its host.",
    )
    node: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="Name of this service among several on one database, for people; default the host's name.",
    )
    node_url: str | None = Field(
        None,
        description="Base URL where the other nodes reach this service, http://HOST[:PORT] or https; else they do not.",
    )
    claim_s: Seconds = Field(
        10, gt=0, description="How long a node that has claimed a requested machine may take to begin it."
    )

    drivers: Words = Field(
        ("namespace",), min_length=1, description="Drivers in order of preference; the first that works is used."
    )
    first_machine_uid: int = Field(
        200_001,
        ge=1000,
        description="First host uid of machines when the service may set uids; must belong to nobody else.",
    )
    machine_uids: int = Field(200, ge=1, le=60_000, description="How many host uids machines may use.")
    machines: int | None = Field(
        None,
        ge=1,
        description="Machines of this node at once; default by its memory and processors, see docs/how-to/limits.md.",
    )
    least_memory_mb: Count = Field(
        512, description="MiB of memory that must be left on the host beside a machine that is started."
    )
    unclaimed_s: Seconds = Field(900, description="A machine that no service has claimed for so long ends itself.")

    owner_live: Count = Field(
        10, description="Sign-ins that one user may have open at once, over all tools; 0: any number."
    )
    owner_starts_an_hour: Count = Field(
        60, description="Sign-ins that may be started for one user within an hour; 0: any number."
    )
    live: Count = Field(500, description="Sign-ins that may be open at once, of all users together; 0: any number.")
    starts_an_hour: Count = Field(
        3000, description="Sign-ins that may be started within an hour, for all users together; 0: any number."
    )
    reveals_an_hour: Count = Field(
        60,
        description="Tries of one API key within an hour to have a credential in plain text, those that are refused"
        " counted too; 0: any number.",
    )

    wait_s: Seconds = Field(600, description="Time that a sign-in waits in the line for a free machine.")
    start_s: Seconds = Field(60, description="Time for a machine to be ready, from the moment that a node begins it.")
    nobody_came_s: Seconds = Field(600, description="Time for the person to come once the machine is ready.")
    sign_in_s: Seconds = Field(600, description="Time to sign in from the moment that the screen was first seen.")
    again_s: Seconds = Field(
        120, description="Time to have the tool started again after it gave up; then the sign-in has failed."
    )
    expiring_s: Seconds = Field(
        259_200, description="How long before its claimed end a credential that nothing can renew is `expiring`."
    )
    link_s: Seconds = Field(900, description="How long a sign-in link can be opened.")
    ticket_s: Seconds = Field(30, description="How long a screen ticket can be used.")
    grace_completed_s: Seconds = Field(10, description="How long the machine stays after a completed sign-in.")
    grace_failed_s: Seconds = Field(5, description="How long the machine stays after a failed one.")
    egress_after_capture_s: Seconds = Field(5, description="How long the way out stays open after the capture.")
    last_look_s: Seconds = Field(
        2, description="How long the guest is asked for a whole file before a bad end is written."
    )
    late_report_s: Seconds = Field(
        600,
        description="How long past its deadline a session waits for what its machine has reported while the database"
        " does not take it; other services wait for the machine's own no longer than twice its last look and sweep.",
    )
    stop_s: Seconds = Field(10, description="Time for a machine to stop before it is tried again.")
    sweep_s: Seconds = Field(2, gt=0, description="Interval of the slow look that finds what no hint told.")

    run_s: Seconds = Field(
        3600, ge=1, description="Longest time that a run of a tool may take; a caller may ask for less."
    )
    owner_runs: Count = Field(
        20, description="Runs of tools that one user may have at once, those that wait among them; 0: any number."
    )
    runs: Count = Field(200, description="The same of all users together; 0: any number.")
    run_wait_s: Seconds = Field(600, description="Time that a run waits while another one has its credential.")
    run_finish_s: Seconds = Field(
        15,
        description="Time for a run's tool to end and for its machine to tell what it wrote, before that is stopped.",
    )
    run_caller_s: Seconds = Field(
        15, description="Time without a reader after which a run ends that waits for its reader."
    )
    run_left_s: Seconds = Field(900, description="The same for a run that goes on without one.")
    run_kept_s: Seconds = Field(30, description="How long the output of a run that has ended waits for its reader.")

    egress_connections: int = Field(256, ge=1, description="Connections at once of one session.")
    egress_names: int = Field(4096, ge=1, description="Different names that one session may ask for.")
    egress_bytes: int = Field(4 * 2**30, ge=1, description="Bytes that one session may move, both ways together.")
    egress_rate: int = Field(100, ge=1, description="Requests a second of one session, on average over ten seconds.")
    egress_deny: Words = Field((), description="Names (with their subdomains) and networks that no machine reaches.")
    destinations_kept_s: Seconds = Field(86_400, description="How long a session's destinations are kept.")
    events_kept_s: Seconds = Field(
        7_776_000,
        description="How long an ended session is kept, with its machine and what happened to both; while its "
        "credential is stored its row stays. Default 90 days.",
    )
    machine_logs_kept_s: Seconds = Field(7_776_000, description="How long what a failed machine printed is kept.")
    machine_logs_bytes: int = Field(
        268_435_456, ge=0, description="Bytes of all that failed machines printed, on this computer; the oldest goes."
    )
    audit_kept_months: int | None = Field(
        None,
        ge=1,
        le=1200,
        description="Whole months of the audit that are kept besides the present one, the older ones are deleted;"
        " default all, for ever.",
    )
    audit_exported_first: bool = Field(
        False,  # noqa: FBT003 - a default
        description="Whether lines of the audit go only up to the one that `antechamber audit exported` named.",
    )
    rollback_kept_s: Seconds = Field(
        604_800,
        description="How long the copy of a SQLite database from before an upgrade is kept, to go back.",
    )
    idempotency_kept_s: Seconds = Field(86_400, description="How long an Idempotency-Key is remembered.")
    heartbeat_s: Seconds = Field(15, gt=0, description="Interval of heartbeats in event streams.")
    body_bytes: int = Field(65_536, ge=1024, description="Largest request body.")

    @field_validator("roots")
    @classmethod
    def _known_roots(cls, roots: tuple[str, ...]) -> tuple[str, ...]:
        if not set(roots) <= set(ROOTS):
            # without the word: somebody may have put a key there
            message = f"names one that is no root; there are {', '.join(ROOTS)}"
            raise ValueError(message)
        if len(set(roots)) != len(roots):
            message = "names a root twice"
            raise ValueError(message)
        return roots

    @field_validator("transit_url")
    @classmethod
    def _transit_server(cls, url: str | None, whole: ValidationInfo) -> str | None:
        if url is None:
            if "transit" in whole.data.get("roots", ()):
                message = "is needed for the root transit"
                raise ValueError(message)
            return None
        found = re.fullmatch(r"(https?)://([^/@\s?#]+?)(:\d+)?/?", url)
        if not found or (found[1] == "http" and found[2] not in {"127.0.0.1", "[::1]", "localhost"}):
            message = "must be https://HOST[:PORT] without a path; http only on 127.0.0.1, [::1] or localhost"
            raise ValueError(message)
        return url.rstrip("/")

    @field_validator("kms_keys")
    @classmethod
    def _whole_arns(cls, keys: tuple[str, ...], whole: ValidationInfo) -> tuple[str, ...]:
        if not keys and "kms" in whole.data.get("roots", ()):
            message = "is needed for the root kms"
            raise ValueError(message)
        # https://docs.aws.amazon.com/kms/latest/developerguide/concepts.html: an alias may come to mean another key
        if not all(re.fullmatch(r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[A-Za-z0-9-]+", key) for key in keys):
            message = "must be whole ARNs of keys, arn:aws:kms:REGION:ACCOUNT:key/ID, and no aliases"
            raise ValueError(message)
        if len(set(keys)) != len(keys):
            message = "names a key twice"
            raise ValueError(message)
        return keys

    @field_validator(
        "data_dir",
        "run_dir",
        "shared_dir",
        "providers_dir",
        "texts_dir",
        "transit_token_file",
        "transit_ca_file",
        "oidc_client_secret_file",
        "oidc_ca_file",
    )
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_absolute():
            message = "must be an absolute path"
            raise ValueError(message)
        return path

    @field_validator("dashboard_url", "sign_in_url", "node_url")
    @classmethod
    def _base_url(cls, url: str | None) -> str | None:
        if url is None:
            return None
        scheme, separator, rest = url.rstrip("/").partition("://")
        if not separator or scheme not in {"http", "https"} or not rest or "/" in rest or "@" in rest:
            message = "must be http://HOST[:PORT] or https://HOST[:PORT] without a path"
            raise ValueError(message)
        return url.rstrip("/")

    @field_validator("embed_origins")
    @classmethod
    def _origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        found = tuple(map(web_origin, origins))
        if len(set(found)) != len(found):
            message = "names an origin twice"
            raise ValueError(message)
        return found

    @field_validator("workspace_roots")
    @classmethod
    def _folders(cls, roots: tuple[str, ...]) -> tuple[str, ...]:
        named = [_root(root) for root in roots]
        if any(not path.is_absolute() or ".." in path.parts for _, path in named):
            message = "must be /FOLDER or app_…=/FOLDER each"
            raise ValueError(message)
        if len({application for application, _ in named}) != len(named):
            message = "names two folders for one application"
            raise ValueError(message)
        return roots

    @property
    def workspaces(self) -> Mapping[str, Path]:
        """The roots of workspaces by their applications."""
        return dict(map(_root, self.workspace_roots))

    @field_validator("oidc_issuer")
    @classmethod
    def _issuer(cls, url: str | None) -> str | None:
        # compared as it is written, slash and all
        return None if url is None else issuer_address(url)

    @field_validator("oidc_client_id", "oidc_client_secret_file", "oidc_scopes", "oidc_values")
    @classmethod
    def _whole_client(cls, given: Any, whole: ValidationInfo) -> Any:
        if whole.data.get("oidc_issuer") is None:
            return given
        if whole.field_name == "oidc_client_id" and given is None:
            message = "is needed with an issuer"
            raise ValueError(message)
        if whole.field_name == "oidc_client_secret_file" and (given is None) == (
            whole.data["oidc_client_secret"] is None
        ):
            message = "is needed with an issuer, or the secret itself in ANTECHAMBER_OIDC_CLIENT_SECRET, and not both"
            raise ValueError(message)
        if whole.field_name == "oidc_scopes" and "openid" not in given:
            message = "must have openid among them"
            raise ValueError(message)
        if whole.field_name == "oidc_values":
            cls._whole_list(given, whole.data)
        return given

    @staticmethod
    def _whole_list(values: tuple[str, ...], data: Mapping[str, Any]) -> None:
        if bool(values) != bool(data.get("oidc_claim")):
            message = "needs ANTECHAMBER_OIDC_CLAIM, and that needs it: a claim and its values go together"
            raise ValueError(message)
        if not (values or data.get("oidc_subjects") or data.get("oidc_emails")):
            message = (
                "nobody may come in by the issuer: name who may in ANTECHAMBER_OIDC_SUBJECTS,"
                " in ANTECHAMBER_OIDC_EMAILS, or by ANTECHAMBER_OIDC_CLAIM and ANTECHAMBER_OIDC_VALUES"
            )
            raise ValueError(message)

    @field_validator("otlp_endpoint")
    @classmethod
    def _collector(cls, url: str | None) -> str | None:
        if url is not None and not re.fullmatch(r"https?://[^/@\s]+(/[^@\s]*)?", url):
            message = "must be http://HOST[:PORT] or https://HOST[:PORT], without a user"
            raise ValueError(message)
        return None if url is None else url.rstrip("/")

    @field_validator("metrics_bind")
    @classmethod
    def _host_and_port(cls, bind: str | None) -> str | None:
        if bind is None:
            return None
        host, _, port = bind.rpartition(":")
        if not host or not port.isascii() or not port.isdecimal() or int(port) > 65535:
            message = "must be HOST:PORT, such as 127.0.0.1:9464 or [::1]:9464"
            raise ValueError(message)
        return bind

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Host and port of the listener for metrics, or None."""
        if self.metrics_bind is None:
            return None
        host, _, port = self.metrics_bind.rpartition(":")
        return host.removeprefix("[").removesuffix("]"), int(port)

    def duration(self, name: str) -> timedelta:
        """Return the setting of that name (without `_s`) as a duration."""
        return timedelta(seconds=float(getattr(self, f"{name}_s")))


SECRETS: Final = tuple(name for name, field in Settings.model_fields.items() if _HIDES in field.metadata)
"""The settings that are secrets, a `Hidden` each."""

_taken: Final[dict[str, Secret]] = {}
"""The secrets that were in this process' environment: it may be read again, and they are not there any more."""


def take_secrets(environment: MutableMapping[str, str]) -> dict[str, Secret]:
    """Take the secrets out of an environment, so that no program that is started from now on inherits them.

    The block that the kernel gave this process stays as it is: /proc/PID/environ shows it to this account and root.
    """
    taken = {}
    for name in SECRETS:
        value = environment.pop(f"{PREFIX}{name.upper()}", "")
        if value:
            taken[name] = Secret(value)
    return taken


def read_settings(**given: Any) -> Settings:
    """Return the settings of the environment, with what is given over it; secrets are taken out of it.

    Raises OperatorError (misconfigured) that names every fault at once.
    """
    _taken.update(take_secrets(os.environ))
    try:
        return Settings(**{**_taken, **given})
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        raise OperatorError(
            Code.MISCONFIGURED,
            message="These settings are not valid: " + "; ".join(_sentence(fault) for fault in faults) + ".",
            next_step="Correct them; docs/settings.md says what each one means.",
        ) from error


def _sentence(fault: Mapping[str, Any]) -> str:
    name = PREFIX + "_".join(map(str, fault["loc"])).upper()
    said = str(fault["msg"]).removeprefix("Value error, ")
    return f"{name}: {said[:1].lower()}{said[1:]}"


def unknown_names(environment: Mapping[str, str]) -> list[str]:
    """Return a sentence for each variable with our prefix that is no setting: most are misspelt ones.

    They are no fault: container platforms make variables of that kind for a service called `antechamber`.
    """
    known = [name.upper() for name in Settings.model_fields]
    said = []
    for variable in sorted(environment):
        name = variable.removeprefix(PREFIX)
        if name != variable and name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
            said.append(f"{variable} is no setting" + (f"; is {PREFIX}{near[0]} meant?" if near else ""))
    return said
