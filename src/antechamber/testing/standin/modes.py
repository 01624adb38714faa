"""How the stand-in is to behave, for tests; set through its control socket."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Consent(StrEnum):
    """What the button on the consent page leads to."""

    GRANT = "grant"
    DENY = "deny"


class TokenEndpoint(StrEnum):
    """What the token endpoints answer."""

    OK = "ok"
    REFUSE = "refuse"
    """400 invalid_grant."""
    FAIL = "fail"
    """503."""
    GARBAGE = "garbage"
    """200 with a body that is not JSON."""
    HANG = "hang"
    """No answer while the mode stands; then 503."""


class Callback(StrEnum):
    """What the browser is sent to the CLI with."""

    RIGHT = "right"
    WRONG_STATE = "wrong_state"
    NO_STATE = "no_state"
    REPLAY = "replay"
    """The code and the state of the sign-in before this one."""
    WRONG_CODE = "wrong_code"


class Refresh(StrEnum):
    """What an answer to a refresh token holds."""

    WHOLE = "whole"
    NO_REFRESH_TOKEN = "no_refresh_token"  # noqa: S105 - a mode's name
    """An access token alone; the refresh token that was sent stays good (RFC 6749, section 6)."""
    OTHER_ACCOUNT = "other_account"
    """Tokens of an account that never signed in here."""


class Modes(BaseModel):
    """All modes; each has the value of an honest, quick vendor by default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    plan: Annotated[str, Field(max_length=40)] | None = None
    """The plan of the account, in the vendor's own word; None: the vendor's usual one."""
    consent: Consent = Consent.GRANT
    slow_s: Annotated[float, Field(ge=0, le=60)] = 0
    """Seconds before each answer of a vendor."""
    token: TokenEndpoint = TokenEndpoint.OK
    callback: Callback = Callback.RIGHT
    token_lifetime_s: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Lifetime of access tokens; None: the vendor's usual one."""
    renewed_lifetime_s: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Lifetime of those that a refresh token was taken for; None: that of the others.

    Codex takes a token for one that is about to end, and refreshes again without a pause, for as long as what it gets
    lasts less than five minutes.
    """
    rotate: bool | None = None
    """Whether a refresh token is good for one use; None: as the vendor has it."""
    refresh: Refresh = Refresh.WHOLE
