"""The sign-in servers that the Gemini CLI asks for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from starlette.routing import BaseRoute, Route

from antechamber.testing.standin.setting import Setting
from antechamber.testing.standin.sign_ins import Issue, SignIns, Vendor
from antechamber.testing.standin.tokens import DeadFamilyError, Grant, GrantError
from antechamber.testing.standin.vendors import gemini_work
from antechamber.testing.standin.vendors.endpoints import answer, note_refusal, refusal, token_endpoint, with_grant

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

VENDOR: Final = Vendor(
    id="gemini",
    title="Google",
    client="Gemini CLI",
    client_ids=frozenset({"681255809395-oo8ft2oprdrnp9e3aqf6av3hmdib135j.apps.googleusercontent.com"}),
    redirect_path="/oauth2callback",
    pkce=False,
    plan="standard-tier",
    refresh_prefix="1//",
    rotates=False,
    access_s=3599,
)
_PROJECT: Final = "dummy-practice-project"


@dataclass(slots=True)
class Gemini:
    """The vendor's state."""

    setting: Setting
    sign_ins: SignIns = field(init=False)

    def __post_init__(self) -> None:
        """Make its sign-ins."""
        self.sign_ins = SignIns(VENDOR, self.setting)

    def redeem(self, asked: dict[str, str]) -> dict[str, Any]:
        """Answer a token request; raises GrantError."""
        tokens, client = self.sign_ins.tokens, asked.get("client_id", "")
        if not asked.get("client_secret"):
            raise GrantError("invalid_client")
        match asked.get("grant_type"):
            case "authorization_code":
                grant = tokens.redeem(
                    asked.get("code", ""),
                    client_id=client,
                    redirect_uri=asked.get("redirect_uri", ""),
                    verifier=asked.get("code_verifier"),
                )
                return self._issued(self.sign_ins.first(grant))
            case "refresh_token":
                return self._issued(self.sign_ins.renewed(asked.get("refresh_token", ""), client_id=client))
            case _:
                raise GrantError("unsupported_grant_type")

    def _issued(self, issue: Issue) -> dict[str, Any]:
        grant, tokens = issue.family.grant, self.sign_ins.tokens
        claims = {
            "iss": "https://accounts.google.com",
            "azp": grant.client_id,
            "aud": grant.client_id,
            "sub": _number(grant),
            "email": grant.account.email,
            "email_verified": True,
            "name": grant.account.name,
        }
        return {
            "access_token": tokens.access(issue.family, "ya29.", lifetime_s=issue.lifetime_s),
            **({} if issue.refresh is None else {"refresh_token": issue.refresh}),
            "expires_in": issue.lifetime_s,
            "scope": grant.scope,
            "token_type": "Bearer",
            "id_token": tokens.signed(claims, lifetime_s=issue.lifetime_s),
        }

    @staticmethod
    def user(grant: Grant) -> dict[str, Any]:
        """Return who is signed in."""
        return {
            "id": _number(grant),
            "email": grant.account.email,
            "verified_email": True,
            "name": grant.account.name,
            "picture": "",
        }

    @staticmethod
    def load(grant: Grant) -> dict[str, Any]:
        """Return the tier of the account."""
        tier = _tier(grant)
        return {
            "currentTier": tier,
            "allowedTiers": [{**tier, "isDefault": True}],
            "cloudaicompanionProject": _PROJECT,
            "gcpManaged": False,
        }

    @staticmethod
    def onboard(grant: Grant) -> dict[str, Any]:
        """Return that the account is on board already."""
        return {
            "name": "operations/DUMMY",
            "done": True,
            "response": {"cloudaicompanionProject": {"id": _PROJECT, "name": _PROJECT}, "tier": _tier(grant)},
        }

    @staticmethod
    def quota(_: Grant) -> dict[str, Any]:
        """Return an untouched quota."""
        return {
            "buckets": [
                {
                    "resetTime": "2036-01-01T00:00:00Z",
                    "tokenType": "REQUESTS",
                    "modelId": "gemini-2.5-pro",
                    "remainingFraction": 1,
                }
            ]
        }

    async def token_of(self, request: Request) -> Response:
        """Say what an access token stands for."""
        await self.setting.slow()
        _, _, bearer = request.headers.get("authorization", "").partition(" ")
        grant = self.sign_ins.tokens.granted(request.query_params.get("access_token") or bearer.strip())
        if grant is None:
            note_refusal(self.setting, request, "no valid access token")
            return answer({"error": "invalid_token", "error_description": "Invalid Value"}, 400)
        return answer(
            {
                "azp": grant.client_id,
                "aud": grant.client_id,
                "sub": _number(grant),
                "scope": grant.scope,
                "expires_in": str(VENDOR.access_s),
                "email": grant.account.email,
                "email_verified": "true",
                "access_type": "offline",
            }
        )

    async def success(self, _: Request) -> Response:
        """Show that the CLI is signed in."""
        return self.sign_ins.notice("Signed in", "Gemini CLI is signed in. Close this page.", shown_as="done")

    async def failure(self, _: Request) -> Response:
        """Show that the CLI is not signed in."""
        return self.sign_ins.notice("Not signed in", "Gemini CLI is not signed in.", shown_as="error")


def _number(grant: Grant) -> str:
    return str(int(grant.account.id("user").replace("-", ""), 16) % 10**21).zfill(21)


def _tier(grant: Grant) -> dict[str, Any]:
    return {
        "id": grant.account.plan,
        "name": "Gemini Code Assist (practice)",
        "description": "A tier that exists in the practice world only",
        "userDefinedCloudaicompanionProject": False,
    }


def _refused(error: GrantError) -> Response:
    """Refuse as the vendor does (https://developers.google.com/identity/protocols/oauth2#expiration)."""
    if not isinstance(error, DeadFamilyError):
        return refusal(error)
    return answer({"error": str(error), "error_description": "Token has been expired or revoked."}, 400)


def hosts(setting: Setting) -> dict[str, list[BaseRoute]]:
    """Return the routes by name."""
    gemini = Gemini(setting)
    tokens = gemini.sign_ins.tokens
    return {
        "accounts.google.com": [
            Route("/o/oauth2/v2/auth", gemini.sign_ins.authorize),
            *gemini.sign_ins.routes(),
        ],
        "oauth2.googleapis.com": [
            Route("/token", token_endpoint(setting, gemini.redeem, _refused), methods=["POST"]),
            Route("/tokeninfo", gemini.token_of, methods=["GET", "POST"]),
        ],
        "www.googleapis.com": [
            Route("/oauth2/v2/userinfo", with_grant(setting, tokens, gemini.user)),
        ],
        "developers.google.com": [
            Route("/gemini-code-assist/auth_success_gemini", gemini.success),
            Route("/gemini-code-assist/auth_failure_gemini", gemini.failure),
        ],
        "cloudcode-pa.googleapis.com": [
            Route(
                "/v1internal:loadCodeAssist",
                with_grant(setting, tokens, gemini.load, gemini_work.UNAUTHORIZED),
                methods=["POST"],
            ),
            Route(
                "/v1internal:onboardUser",
                with_grant(setting, tokens, gemini.onboard, gemini_work.UNAUTHORIZED),
                methods=["POST"],
            ),
            Route(
                "/v1internal:retrieveUserQuota",
                with_grant(setting, tokens, gemini.quota, gemini_work.UNAUTHORIZED),
                methods=["POST"],
            ),
            *gemini_work.routes(setting, tokens),
        ],
    }
