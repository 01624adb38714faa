"""What callers may send: strict models without unknown fields, limited in length and alphabet."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import Header, Path, Query
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from antechamber.applications import MOST_AT_ONCE
from antechamber.model import ID_PATTERN, Secret, is_printable
from antechamber.web_address import MOST, web_address

_ID_BODY: Final = ID_PATTERN.pattern.partition(")_")[2].removesuffix(r"\Z")


def printable(text: str) -> str:
    """Return a text without characters that cannot be seen; ValueError when it has some, or blanks around it."""
    if not is_printable(text):
        message = "must be printable text without surrounding blanks"
        raise ValueError(message)
    return text


PRINTABLE: Final[dict[str, Any]] = {"format": "printable"}
"""How /openapi.json says that a text must be printable, without blanks around it: no pattern could."""


def whole(number: object) -> object:
    """Return 2 for 2.0, which is an integer to JSON Schema as well."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


UserId = Annotated[str, Field(min_length=1, max_length=128, json_schema_extra=PRINTABLE), AfterValidator(printable)]
Label = Annotated[str, Field(min_length=1, max_length=200, json_schema_extra=PRINTABLE), AfterValidator(printable)]
ReturnUrl = Annotated[
    str, Field(max_length=MOST, json_schema_extra={"format": "return-url"}), AfterValidator(web_address)
]
SessionId = Annotated[str, Path(pattern=rf"^ses_{_ID_BODY}$", description="A session's id.")]
SessionCursor = Annotated[str, Field(pattern=rf"^ses_{_ID_BODY}$")]
AskedApplication = Annotated[
    str | None,
    Query(pattern=rf"^(app_{_ID_BODY}|default)$", description="For the operator: whose. A key's is its own."),
]
CredentialId = Annotated[str, Path(pattern=rf"^cred_{_ID_BODY}$", description="A credential's id.")]
ApplicationId = Annotated[str, Path(pattern=rf"^app_{_ID_BODY}$", description="An application's id.")]
RunId = Annotated[str, Path(pattern=rf"^run_{_ID_BODY}$", description="A run's id.")]
ErasureId = Annotated[str, Path(pattern=rf"^era_{_ID_BODY}$", description="An erasure's id.")]
Wait = Annotated[float | None, Query(ge=1, le=60, description="Seconds to wait for a change before answering.")]
IdempotencyKey = Annotated[
    str | None, Header(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$", description="Makes a repeat safe.")
]
# whatever it is, it is no reason to refuse a request: what is not well-formed is ignored, as its standard asks
Traceparent = Annotated[str | None, Header(description="The caller's span (W3C Trace Context); the trace hangs on it.")]


class Body(BaseModel):
    """A request's body: exactly its fields, of exactly their types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Nothing(Body):
    """A body without any field, which may also be left out."""


class Start(Body):
    """What starts a sign-in."""

    user_id: UserId = Field(description="Your own id of the person; a label, not a login.")
    provider: Annotated[str, Field(min_length=1, max_length=64)] = Field(description="An id or alias of a provider.")
    replace: bool = Field(default=False, description="End the live session of this user and provider, if there is one.")
    replace_account: bool = Field(
        default=False,
        description="Let this sign-in put another account in the place of the stored credential's; without it another"
        " account is refused.",
    )
    display_name: Label | None = Field(None, description="How the page calls the person.")
    purpose: Label | None = Field(None, description="What the credential is for, shown before the person agrees.")
    return_url: ReturnUrl | None = Field(
        None,
        description="Where the page leads when it is done: an https URL, or an http URL of this computer.",
    )


class Bind(Body):
    """Who sits at a browser, as the application knows them."""

    user_id: UserId = Field(description="Your own id of the person who is signed in with you in that browser.")
    challenge: Annotated[str, Field(min_length=1, max_length=256)] = Field(
        description="What the browser came with; it serves once."
    )

    def secret(self) -> Secret:
        """Return the challenge so that it is not printed."""
        return Secret(self.challenge)


class Said(Body):
    """What somebody knows of a stored credential."""

    said: Literal["revoked", "vendor_refused"] = Field(
        description="`revoked`: its sign-in was ended at the vendor. `vendor_refused`: the vendor did not take it."
    )


class ApplicationLimits(Body):
    """How many sign-ins an application may have; 0: as many as the installation allows."""

    live: Annotated[int, Field(ge=0, le=MOST_AT_ONCE, description="Open at once."), BeforeValidator(whole)]
    starts_an_hour: Annotated[
        int, Field(ge=0, le=MOST_AT_ONCE, description="Started within an hour."), BeforeValidator(whole)
    ]


class Reveal(Body):
    """Why somebody wants a credential in plain text."""

    reason: Annotated[str, Field(max_length=400)] | None = Field(
        None, description="What it is for, in your own words; its owner reads that, so name nobody and no secret."
    )


class Again(Body):
    """Which run of the tool gave up, so that one click starts one more."""

    attempt: Annotated[int, Field(ge=1, le=1000), BeforeValidator(whole)]


class Exchange(Body):
    """A link's one-time code, from the fragment of its URL."""

    code: Annotated[str, Field(min_length=1, max_length=256)]

    def secret(self) -> Secret:
        """Return the code so that it is not printed."""
        return Secret(self.code)


class PageExchange(Exchange):
    """A code that opens a session's page, and where that is shown."""

    framed: bool = Field(
        default=False,
        description="The page is in a frame: where the operator lists origins for that, its cookie is for there alone.",
    )
