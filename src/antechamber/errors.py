"""Every error that Antechamber raises on purpose, by who must act on it.

The tree::

    AntechamberError
    ├── CallerError      the request was wrong; the caller can mend it (4xx)
    ├── OperatorError    the installation is misconfigured or lacks something
    ├── MachineError     a machine, its keeper or its guest misbehaved
    ├── ProviderError    the vendor's CLI or service did something unexpected
    └── VaultError       a credential could not be sealed or opened

A code is a stable word that callers may match on. `CATALOGUE` gives each code its HTTP status, the sentence that a
person may read and what to do next; detail goes to the operator's log only. Bugs stay built-in exceptions.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import timedelta


class Code(StrEnum):
    """The stable code of an error."""

    # caller
    BAD_REQUEST = "bad_request"
    UNKNOWN_FIELD = "unknown_field"
    BODY_TOO_LARGE = "body_too_large"
    NOT_JSON = "not_json"
    UNKNOWN_PROVIDER = "unknown_provider"
    ARGUMENT_REFUSED = "argument_refused"
    MALFORMED_ID = "malformed_id"
    NOT_SIGNED_IN = "not_signed_in"
    NOT_ALLOWED = "not_allowed"
    WRONG_HOST = "wrong_host"
    WRONG_ORIGIN = "wrong_origin"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    SESSION_NOT_FOUND = "session_not_found"
    CREDENTIAL_NOT_FOUND = "credential_not_found"
    REVEAL_OFF = "reveal_off"
    REASON_MISSING = "reason_missing"
    REVEAL_LIMIT = "reveal_limit"
    NOT_EXPORTED = "not_exported"
    OWNER_NOT_FOUND = "owner_not_found"
    OWNER_BEING_ERASED = "owner_being_erased"
    ERASURE_NOT_FOUND = "erasure_not_found"
    APPLICATION_NOT_FOUND = "application_not_found"
    APPLICATION_EXISTS = "application_exists"
    API_KEY_NOT_FOUND = "api_key_not_found"
    SCOPE_NEEDED = "scope_needed"
    BIND_NEEDED = "bind_needed"
    BIND_OTHER_PERSON = "bind_other_person"
    CHALLENGE_NOT_VALID = "challenge_not_valid"
    RETURN_NOT_VALID = "return_not_valid"
    LOGIN_NOT_VALID = "login_not_valid"
    LOGIN_REFUSED = "login_refused"
    LOGIN_NOT_ALLOWED = "login_not_allowed"
    NODE_NOT_FOUND = "node_not_found"
    NODE_SERVES = "node_serves"
    SESSION_ENDED = "session_ended"
    ALREADY_OPEN = "already_open"
    IDEMPOTENCY_MISMATCH = "idempotency_mismatch"
    OWNER_LIVE_LIMIT = "owner_live_limit"
    OWNER_START_LIMIT = "owner_start_limit"
    APPLICATION_LIVE_LIMIT = "application_live_limit"
    APPLICATION_START_LIMIT = "application_start_limit"
    LIVE_LIMIT = "live_limit"
    START_LIMIT = "start_limit"
    TOO_OFTEN = "too_often"
    LINK_NOT_VALID = "link_not_valid"
    TICKET_NOT_VALID = "ticket_not_valid"
    CONSENT_NEEDED = "consent_needed"
    SCREEN_NOT_READY = "screen_not_ready"
    SCREEN_IN_USE = "screen_in_use"
    WRONG_NODE = "wrong_node"
    NOT_REJECTABLE = "not_rejectable"
    CLI_RUNS = "cli_runs"
    RUN_NOT_FOUND = "run_not_found"
    RUN_ENDED = "run_ended"
    RUN_IN_USE = "run_in_use"
    NO_TERMINAL = "no_terminal"
    WORKSPACE_NOT_FOUND = "workspace_not_found"
    CREDENTIAL_NOT_USABLE = "credential_not_usable"
    OWNER_RUN_LIMIT = "owner_run_limit"
    RUN_LIMIT = "run_limit"
    # operator
    MISCONFIGURED = "misconfigured"
    DRIVER_UNAVAILABLE = "driver_unavailable"
    STORE_UNAVAILABLE = "store_unavailable"
    ALREADY_RUNNING = "already_running"
    NODE_IN_USE = "node_in_use"
    SERVICE_NOT_RUNNING = "service_not_running"
    WRONG_WORLD = "wrong_world"
    WRONG_OWNER = "wrong_owner"
    KEY_MISSING = "key_missing"
    KEY_MISMATCH = "key_mismatch"
    KEY_EXPOSED = "key_exposed"
    KEY_UNREADABLE = "key_unreadable"
    KEY_UNKNOWN = "key_unknown"
    KEY_NEEDED = "key_needed"
    KEYS_NOT_SHARED = "keys_not_shared"
    KEYS_CHANGED = "keys_changed"
    KEYS_ELSEWHERE = "keys_elsewhere"
    ROOT_UNAVAILABLE = "root_unavailable"
    ISSUER_UNAVAILABLE = "issuer_unavailable"
    ISSUER_NOT_BELIEVED = "issuer_not_believed"
    SCHEMA_TOO_NEW = "schema_too_new"
    PROVIDER_NOT_INSTALLED = "provider_not_installed"
    PROVIDER_ALTERED = "provider_altered"
    PROVIDER_INVALID = "provider_invalid"
    SHUTTING_DOWN = "shutting_down"
    INTERNAL = "internal"
    # machine
    MACHINE_DID_NOT_START = "machine_did_not_start"
    MACHINE_ENDED = "machine_ended"
    GUEST_PROTOCOL = "guest_protocol"
    GUEST_VERSION = "guest_version"
    SANDBOX_OFF = "sandbox_off"
    # provider
    CREDENTIAL_MALFORMED = "credential_malformed"
    CREDENTIAL_TOO_LARGE = "credential_too_large"
    CREDENTIAL_INCOMPLETE = "credential_incomplete"
    CREDENTIAL_STALE = "credential_stale"
    OTHER_ACCOUNT = "other_account"
    CAPTURE_REFUSED = "capture_refused"
    WRITE_BACK_REFUSED = "write_back_refused"
    CLI_ENDED = "cli_ended"
    CLI_NEVER_OPENED_PAGE = "cli_never_opened_page"
    # vault
    SEAL_FAILED = "seal_failed"
    OPEN_FAILED = "open_failed"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a code means to HTTP and to the person who reads it."""

    http_status: int
    message: str
    next: str
    retryable: bool = False


_ASK_OPERATOR: Final = "Ask whoever runs this service to look at its log."
_NEW_SESSION: Final = "Start a new sign-in."

CATALOGUE: Final[dict[Code, Meaning]] = {
    Code.BAD_REQUEST: Meaning(422, "The request is not valid.", "Correct what the message names and send it again."),
    Code.UNKNOWN_FIELD: Meaning(
        422, "The request has a field that is not known.", "Remove the field and send it again."
    ),
    Code.BODY_TOO_LARGE: Meaning(413, "The request's body is too large.", "Send less than 64 KiB."),
    Code.NOT_JSON: Meaning(415, "The request's body is not JSON.", "Send JSON with Content-Type: application/json."),
    Code.UNKNOWN_PROVIDER: Meaning(422, "There is no such provider.", "Choose one that GET /api/providers lists."),
    Code.ARGUMENT_REFUSED: Meaning(
        422, "An argument is none that a run may use.", "Use those that docs/providers.md says how to list."
    ),
    Code.MALFORMED_ID: Meaning(422, "The id is not well-formed.", "Use the id exactly as it was given to you."),
    Code.NOT_SIGNED_IN: Meaning(
        401, "This needs a sign-in.", "Open the link that the service printed, or send its token."
    ),
    Code.NOT_ALLOWED: Meaning(403, "This is not allowed.", "Use the credentials that belong to this request."),
    Code.WRONG_HOST: Meaning(421, "This address does not serve that.", "Use the address that the service printed."),
    Code.WRONG_ORIGIN: Meaning(
        403, "The request came from another site.", "Open the page from the service's own address."
    ),
    Code.NOT_FOUND: Meaning(404, "There is nothing at this address.", "Check the address."),
    Code.METHOD_NOT_ALLOWED: Meaning(
        405, "This address does not take that method.", "See /openapi.json for the methods."
    ),
    Code.SESSION_NOT_FOUND: Meaning(404, "There is no such session.", "Check the id, or start a new sign-in."),
    Code.CREDENTIAL_NOT_FOUND: Meaning(404, "There is no such credential.", "Check the id, or sign in again."),
    Code.REVEAL_OFF: Meaning(
        403,
        "What is stored for this provider is not given out in plain text.",
        "Use it where it is; or ask the operator, who can allow it by `antechamber providers reveal`.",
    ),
    Code.REASON_MISSING: Meaning(
        422,
        "It is given out for a reason alone.",
        "Say in `reason` what it is for; its owner reads that.",
    ),
    Code.REVEAL_LIMIT: Meaning(
        429,
        "Plain text was asked for as often within an hour as is allowed.",
        "Wait until the first of these tries is an hour old.",
        retryable=True,
    ),
    Code.NOT_EXPORTED: Meaning(
        409,
        "Lines of the audit that would go are not said to be elsewhere too.",
        "Export them, then say so by `antechamber audit exported SEQ`.",
    ),
    Code.OWNER_NOT_FOUND: Meaning(
        404,
        "Nothing is kept of this user.",
        "Check how the user_id is written; an erasure that has ended leaves nothing.",
    ),
    Code.OWNER_BEING_ERASED: Meaning(
        409,
        "Everything of this user is being removed.",
        "Try again when that is done; GET /api/owners/{user_id} says what it waits for.",
        retryable=True,
    ),
    Code.ERASURE_NOT_FOUND: Meaning(404, "There is no such erasure.", "Check the id."),
    Code.APPLICATION_NOT_FOUND: Meaning(
        404, "There is no such application.", "Choose one that `antechamber applications list` shows."
    ),
    Code.APPLICATION_EXISTS: Meaning(409, "There is an application of that name already.", "Choose another name."),
    Code.API_KEY_NOT_FOUND: Meaning(404, "There is no such key.", "Choose one that `antechamber api-keys list` shows."),
    Code.SCOPE_NEEDED: Meaning(
        403, "This API key may not do that.", "Use a key with the scope, or ask the operator for one."
    ),
    Code.BIND_NEEDED: Meaning(
        403,
        "The application that asks for this sign-in has not said yet whose browser this is.",
        "Open the page of the sign-in: it leads to the application.",
    ),
    Code.BIND_OTHER_PERSON: Meaning(
        403,
        "This sign-in is somebody else's.",
        "Say to the person that the link is not theirs. A new link of the session's owner starts again.",
    ),
    Code.CHALLENGE_NOT_VALID: Meaning(
        403,
        "This challenge is used up, too old, or not of this session.",
        "Have the person reload the page of the sign-in, which sends a new one.",
    ),
    Code.RETURN_NOT_VALID: Meaning(
        403,
        "This browser is not the one that opened the link, or this way back is used up or too old.",
        "Open the link in this browser, or ask for a new one where you got it.",
    ),
    Code.LOGIN_NOT_VALID: Meaning(
        403,
        "This login is used up, too old, or was begun in another browser.",
        "Open the dashboard and sign in again.",
    ),
    Code.LOGIN_REFUSED: Meaning(
        403,
        "The issuer did not sign you in.",
        "If you stopped it yourself, open the dashboard and sign in again; else ask whoever runs the issuer.",
    ),
    Code.LOGIN_NOT_ALLOWED: Meaning(
        403,
        "You have signed in, but you are not among those who may open this dashboard.",
        "Ask whoever runs this service to name you in its settings; its log has your subject.",
    ),
    Code.NODE_NOT_FOUND: Meaning(404, "There is no such node.", "Choose one that `antechamber nodes list` shows."),
    Code.NODE_SERVES: Meaning(409, "This node serves.", "Stop its service first, and wait half a minute."),
    Code.SESSION_ENDED: Meaning(409, "This session has ended already.", _NEW_SESSION),
    Code.ALREADY_OPEN: Meaning(
        409,
        "A sign-in for this user and provider is open already.",
        "Finish it, or send replace: true to end it and start another.",
    ),
    Code.IDEMPOTENCY_MISMATCH: Meaning(
        422, "This Idempotency-Key was used with another body.", "Use a new key, or send the same body."
    ),
    Code.OWNER_LIVE_LIMIT: Meaning(
        429,
        "This user has as many sign-ins open as are allowed at once.",
        "Finish or stop one of them, or wait until one has ended.",
        retryable=True,
    ),
    Code.OWNER_START_LIMIT: Meaning(
        429,
        "For this user as many sign-ins were started within an hour as are allowed.",
        "Wait until the first of them is an hour old; an open one can still be finished.",
        retryable=True,
    ),
    Code.APPLICATION_LIVE_LIMIT: Meaning(
        429,
        "This application has as many sign-ins open as the operator allows it at once.",
        "Wait until one of them has ended, or ask the operator for more.",
        retryable=True,
    ),
    Code.APPLICATION_START_LIMIT: Meaning(
        429,
        "This application has started as many sign-ins within an hour as the operator allows it.",
        "Wait until the first of them is an hour old, or ask the operator for more.",
        retryable=True,
    ),
    Code.LIVE_LIMIT: Meaning(
        429,
        "As many sign-ins are open as this service allows at once.",
        "Wait until one of them has ended.",
        retryable=True,
    ),
    Code.START_LIMIT: Meaning(
        429,
        "As many sign-ins were started within an hour as this service allows.",
        "Wait until the first of them is an hour old.",
        retryable=True,
    ),
    Code.TOO_OFTEN: Meaning(
        429,
        "This was asked too often in a short time.",
        "Wait as many seconds as Retry-After says, and try again.",
        retryable=True,
    ),
    Code.LINK_NOT_VALID: Meaning(403, "This link is used up or too old.", "Ask for a new link where you got this one."),
    Code.TICKET_NOT_VALID: Meaning(
        403, "This screen ticket is used up or too old.", "Reload the page.", retryable=True
    ),
    Code.CONSENT_NEEDED: Meaning(403, "The sign-in has not been agreed to yet.", "Read the page and agree first."),
    Code.SCREEN_NOT_READY: Meaning(409, "The screen is not ready yet.", "Wait for awaiting_sign_in.", retryable=True),
    Code.SCREEN_IN_USE: Meaning(409, "The screen is open in another browser.", "Use the browser that opened the link."),
    Code.WRONG_NODE: Meaning(
        421,
        "This sign-in's screen is on another node of this service, which cannot be reached from here.",
        "Try again; if it stays so, ask whoever runs this service to read how several services share one database.",
        retryable=True,
    ),
    Code.NOT_REJECTABLE: Meaning(
        409, "This sign-in can no longer be taken back here.", "Delete the credential instead."
    ),
    Code.CLI_RUNS: Meaning(
        409, "The command-line tool has not given up, so it is not started again.", "Go on with the sign-in."
    ),
    Code.RUN_NOT_FOUND: Meaning(404, "There is no such run.", "Check the id, or start another run."),
    Code.RUN_ENDED: Meaning(409, "The run has ended.", "Start another run."),
    Code.RUN_IN_USE: Meaning(409, "Somebody else reads this run now.", "Close it there, or start another run."),
    Code.WORKSPACE_NOT_FOUND: Meaning(404, "There is no such workspace.", "Choose one of those that there are."),
    Code.NO_TERMINAL: Meaning(409, "This run's tool has no terminal.", "Read its output, or start it with `terminal`."),
    Code.CREDENTIAL_NOT_USABLE: Meaning(
        409, "The stored sign-in is not thought to work any more.", "Sign in again, then start the run."
    ),
    Code.OWNER_RUN_LIMIT: Meaning(
        429,
        "This user has as many runs going or waiting as are allowed at once.",
        "End one of them, or wait until one has ended.",
        retryable=True,
    ),
    Code.RUN_LIMIT: Meaning(
        429,
        "As many runs are going or waiting as this service allows at once.",
        "Wait until one of them has ended.",
        retryable=True,
    ),
    Code.MISCONFIGURED: Meaning(500, "The service is misconfigured.", _ASK_OPERATOR),
    Code.DRIVER_UNAVAILABLE: Meaning(503, "No machine can be started here.", "Run `antechamber doctor` on the server."),
    Code.STORE_UNAVAILABLE: Meaning(503, "The database is not available.", "Try again shortly.", retryable=True),
    Code.ALREADY_RUNNING: Meaning(
        500,
        "Another service uses this data directory.",
        "Use that one (`antechamber link`, for the practice world with `--world demo`, opens its dashboard), stop it,"
        " or use another data directory.",
    ),
    Code.NODE_IN_USE: Meaning(
        500,
        "Another service serves as the same node: a data directory was copied.",
        "Delete the file `node` in the copy.",
    ),
    Code.SERVICE_NOT_RUNNING: Meaning(
        503,
        "No service runs with this data directory.",
        "Start one with `antechamber serve` or `antechamber demo`, or name the other world by --world.",
    ),
    Code.WRONG_WORLD: Meaning(
        500,
        "This data directory belongs to the other world (serve or demo).",
        "Use another data directory for this command.",
    ),
    Code.WRONG_OWNER: Meaning(
        500, "A file of this installation has another owner.", "Run as that owner, or change it."
    ),
    Code.KEY_MISSING: Meaning(
        500, "The key file is missing, but there are credentials sealed with it.", "Restore the key file from a backup."
    ),
    Code.KEY_MISMATCH: Meaning(
        500, "The key file is not the one that this database knows.", "Restore the key file that belongs to it."
    ),
    Code.KEY_EXPOSED: Meaning(500, "The key file can be read by others.", "chmod 600 it, and consider a new key."),
    Code.KEY_UNREADABLE: Meaning(500, "The key file cannot be read.", "Restore the key file from a backup."),
    Code.KEY_UNKNOWN: Meaning(404, "The key file has no such key.", "Choose one that `antechamber keys list` shows."),
    Code.KEY_NEEDED: Meaning(
        409, "That key is still needed.", "Run `antechamber keys rotate` until no credential needs it, then retire it."
    ),
    Code.KEYS_NOT_SHARED: Meaning(
        409,
        "Other services use this database, and would lack a new key.",
        "Run `antechamber keys add`, copy the key file to each of them and start them again, then rotate.",
    ),
    Code.KEYS_CHANGED: Meaning(
        409, "Another key was chosen a moment ago.", "Look at `antechamber keys list`, and start this service again."
    ),
    Code.KEYS_ELSEWHERE: Meaning(
        409,
        "This root's keys are added and taken away where they are kept.",
        "See docs/how-to/keep-the-root-key-elsewhere.md.",
    ),
    Code.ROOT_UNAVAILABLE: Meaning(
        503,
        "The root key's service cannot be reached, or does not answer as it must.",
        "Try again shortly.",
        retryable=True,
    ),
    Code.ISSUER_UNAVAILABLE: Meaning(
        503,
        "The issuer by which operators sign in cannot be reached, or does not answer as it must.",
        "Try again shortly. On the server, `antechamber link` opens the dashboard without it.",
        retryable=True,
    ),
    Code.ISSUER_NOT_BELIEVED: Meaning(
        502,
        "What the issuer answered is not to be believed, so nobody was signed in.",
        "Look at the service's log, and run `antechamber doctor`. `antechamber link` opens the dashboard without it.",
    ),
    Code.SCHEMA_TOO_NEW: Meaning(500, "The database is newer than this release.", "Run the release that upgraded it."),
    Code.PROVIDER_NOT_INSTALLED: Meaning(
        503, "This provider's command-line tool is not installed.", "Run `antechamber providers install` on the server."
    ),
    Code.PROVIDER_ALTERED: Meaning(
        503,
        "This provider's command-line tool is not what was installed.",
        "Run `antechamber providers install --again` on the server.",
    ),
    Code.PROVIDER_INVALID: Meaning(500, "A provider's definition is not valid.", "Run `antechamber providers check`."),
    Code.SHUTTING_DOWN: Meaning(503, "The service is stopping.", "Try again shortly.", retryable=True),
    Code.INTERNAL: Meaning(500, "Something went wrong on our side.", _ASK_OPERATOR, retryable=True),
    Code.MACHINE_DID_NOT_START: Meaning(503, "The machine did not start.", _NEW_SESSION, retryable=True),
    Code.MACHINE_ENDED: Meaning(409, "The machine has ended.", _NEW_SESSION),
    Code.GUEST_PROTOCOL: Meaning(502, "The machine sent something that is not of its protocol.", _NEW_SESSION),
    Code.GUEST_VERSION: Meaning(502, "The machine's agent is of another version.", _NEW_SESSION),
    Code.SANDBOX_OFF: Meaning(502, "The browser in the machine ran without its sandbox.", _ASK_OPERATOR),
    Code.CREDENTIAL_MALFORMED: Meaning(502, "The credential file is not well-formed.", _ASK_OPERATOR),
    Code.CREDENTIAL_TOO_LARGE: Meaning(502, "The credential file is too large.", _ASK_OPERATOR),
    Code.CREDENTIAL_INCOMPLETE: Meaning(502, "The credential file lacks something that it must have.", _ASK_OPERATOR),
    Code.CREDENTIAL_STALE: Meaning(502, "The credential file was there before the tool was started.", _NEW_SESSION),
    Code.OTHER_ACCOUNT: Meaning(
        409,
        "The sign-in is of another account than the stored one.",
        "Sign in with the same account, or start a sign-in with replace_account: true.",
    ),
    Code.CAPTURE_REFUSED: Meaning(409, "The session had ended before its credential came.", _NEW_SESSION),
    Code.WRITE_BACK_REFUSED: Meaning(
        409,
        "The credential has moved on since this run began.",
        "Start the run again: it gets the present version.",
    ),
    Code.CLI_ENDED: Meaning(502, "The command-line tool ended without signing in.", _NEW_SESSION),
    Code.CLI_NEVER_OPENED_PAGE: Meaning(502, "The command-line tool never opened its sign-in page.", _NEW_SESSION),
    Code.SEAL_FAILED: Meaning(500, "The credential could not be sealed.", _ASK_OPERATOR),
    Code.OPEN_FAILED: Meaning(500, "The credential could not be opened.", _ASK_OPERATOR),
}


class AntechamberError(Exception):
    """An error with a code; `detail` is for the operator's log and never leaves the service.

    `message` replaces the catalogue's sentence where a more exact one is safe to show (which field, which provider).
    `retry_after` is the time after which the same request would not be refused, where that is known.
    """

    def __init__(
        self,
        code: Code,
        *,
        message: str | None = None,
        next_step: str | None = None,
        detail: str = "",
        retry_after: timedelta | None = None,
    ) -> None:
        """Make the error of that code."""
        meaning = CATALOGUE[code]
        self.code = code
        self.message = message or meaning.message
        self.next = next_step or meaning.next
        self.detail = detail
        self.retry_after = retry_after
        super().__init__(f"{code}: {self.message}" + (f" ({detail})" if detail else ""))

    @property
    def http_status(self) -> int:
        """The HTTP status of an answer with this error."""
        return CATALOGUE[self.code].http_status

    @property
    def retryable(self) -> bool:
        """Whether the same request can succeed later without any change."""
        return CATALOGUE[self.code].retryable


class CallerError(AntechamberError):
    """The request was wrong, and the caller can mend it."""


class OperatorError(AntechamberError):
    """The installation is misconfigured or lacks something; names every fault that was found at once."""


class MachineError(AntechamberError):
    """A machine, its keeper or its guest misbehaved."""


class ProviderError(AntechamberError):
    """The vendor changed something, refused, timed out, or its CLI is outdated."""


class VaultError(AntechamberError):
    """A credential could not be sealed or opened."""
