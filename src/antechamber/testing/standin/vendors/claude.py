"""The sign-in servers that Claude Code asks for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from starlette.routing import BaseRoute, Route

from antechamber.testing.standin.setting import Setting
from antechamber.testing.standin.sign_ins import Issue, SignIns, Vendor
from antechamber.testing.standin.tokens import DeadFamilyError, Grant, GrantError
from antechamber.testing.standin.vendors import claude_work
from antechamber.testing.standin.vendors.endpoints import answer, refusal, token_endpoint, with_grant

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

VENDOR: Final = Vendor(
    id="claude_code",
    title="Anthropic",
    client="Claude Code",
    client_ids=frozenset({"9d1c250a-e61b-44d9-88ed-5944d1962f5e"}),
    redirect_path="/callback",
    pkce=True,
    plan="pro",
    refresh_prefix="sk-ant-ort01-",
    rotates=True,
    access_s=8 * 3600,
)
_REFRESH_S: Final = 30 * 24 * 3600
_SINCE: Final = "2026-01-01T00:00:00Z"


@dataclass(slots=True)
class Claude:
    """The vendor's state."""

    setting: Setting
    sign_ins: SignIns = field(init=False)

    def __post_init__(self) -> None:
        """Make its sign-ins."""
        self.sign_ins = SignIns(VENDOR, self.setting)

    def redeem(self, asked: dict[str, str]) -> dict[str, Any]:
        """Answer a token request; raises GrantError."""
        tokens, client = self.sign_ins.tokens, asked.get("client_id", "")
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
        grant, account = issue.family.grant, issue.family.grant.account
        return {
            "token_type": "Bearer",
            "access_token": self.sign_ins.tokens.access(issue.family, "sk-ant-oat01-", lifetime_s=issue.lifetime_s),
            "expires_in": issue.lifetime_s,
            **(
                {}
                if issue.refresh is None
                else {"refresh_token": issue.refresh, "refresh_token_expires_in": _REFRESH_S}
            ),
            "scope": grant.scope,
            "organization": {"uuid": account.id("organization"), "name": _organization(grant)},
            "account": {"uuid": account.id("account"), "email_address": account.email},
        }

    def profile(self, grant: Grant) -> dict[str, Any]:
        """Return who is signed in, and with which plan."""
        account = grant.account
        return {
            "account": {
                "uuid": account.id("account"),
                "full_name": account.name,
                "display_name": account.name,
                "email": account.email,
                "has_claude_max": account.plan == "max",
                "has_claude_pro": account.plan == "pro",
                "created_at": _SINCE,
            },
            "organization": {
                "uuid": account.id("organization"),
                "name": _organization(grant),
                "organization_type": f"claude_{account.plan}",
                "billing_type": "stripe_subscription",
                "rate_limit_tier": "default_claude_max_5x" if account.plan == "max" else "default_claude_ai",
                "has_extra_usage_enabled": False,
                "subscription_status": "active",
                "subscription_created_at": _SINCE,
            },
        }

    @staticmethod
    def roles(grant: Grant) -> dict[str, Any]:
        """Return what the account is in its organisation."""
        return {
            "organization_uuid": grant.account.id("organization"),
            "organization_name": _organization(grant),
            "organization_role": "admin",
            "workspace_uuid": None,
            "workspace_name": None,
            "workspace_role": None,
        }

    async def success(self, _: Request) -> Response:
        """Show that the CLI is signed in."""
        return self.sign_ins.notice("All set", "Claude Code is signed in. Close this page.", shown_as="done")


def _organization(grant: Grant) -> str:
    return f"{grant.account.email}'s Organization"


def _refused(error: GrantError) -> Response:
    """Refuse as the vendor does (its words are in steipete/CodexBar pull request 309 and in many issues)."""
    if not isinstance(error, DeadFamilyError):
        return refusal(error)
    return answer({"error": str(error), "error_description": "Refresh token not found or invalid"}, 400)


def hosts(setting: Setting) -> dict[str, list[BaseRoute]]:
    """Return the routes by name."""
    claude = Claude(setting)
    tokens = claude.sign_ins.tokens
    return {
        "claude.com": [
            Route("/cai/oauth/authorize", claude.sign_ins.authorize),
            *claude.sign_ins.routes(),
        ],
        "platform.claude.com": [
            Route("/v1/oauth/token", token_endpoint(setting, claude.redeem, _refused), methods=["POST"]),
            Route("/oauth/code/success", claude.success),
        ],
        "api.anthropic.com": [
            Route("/api/oauth/profile", with_grant(setting, tokens, claude.profile, claude_work.UNAUTHORIZED)),
            Route("/api/oauth/claude_cli/roles", with_grant(setting, tokens, claude.roles, claude_work.UNAUTHORIZED)),
            *claude_work.routes(setting, tokens),
        ],
    }
