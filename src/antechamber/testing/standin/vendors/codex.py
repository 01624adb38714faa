"""The sign-in servers that the Codex CLI asks for: browser flow, device flow, refresh."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from antechamber.testing.standin.pages import page
from antechamber.testing.standin.setting import BadBodyError, Setting, fields_of
from antechamber.testing.standin.sign_ins import Issue, SignIn, SignIns, Vendor
from antechamber.testing.standin.tokens import (
    DeadFamilyError,
    Grant,
    GrantError,
    OrdinaryRefusalError,
    s256,
)
from antechamber.testing.standin.vendors import codex_work
from antechamber.testing.standin.vendors.endpoints import answer, note_refusal, refusal, token_endpoint

if TYPE_CHECKING:
    from starlette.requests import Request

ISSUER: Final = "https://auth.openai.com"
VENDOR: Final = Vendor(
    id="codex",
    title="OpenAI",
    client="Codex",
    client_ids=frozenset({"app_EMoamEEZ73f0CkXaXp7hrann"}),
    redirect_path="/auth/callback",
    pkce=True,
    plan="plus",
    refresh_prefix="rt_",
    rotates=True,
    access_s=10 * 24 * 3600,
)
_DEVICE_REDIRECT: Final = f"{ISSUER}/deviceauth/callback"
_SCOPE: Final = "openid profile email offline_access"
_TOKEN_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - a grant's name


@dataclass(slots=True)
class _Device:
    """A device that waits for its person."""

    client_id: str
    user_code: str
    verifier: str
    code: str | None = None
    denied: bool = False


@dataclass(slots=True)
class Codex:
    """The vendor's state."""

    setting: Setting
    sign_ins: SignIns = field(init=False)
    _devices: dict[str, _Device] = field(default_factory=dict)

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
            case str(kind) if kind == _TOKEN_EXCHANGE:
                # what an account without an API organisation gets; the CLI goes on without a key
                raise OrdinaryRefusalError("invalid_client")
            case _:
                raise GrantError("unsupported_grant_type")

    def _issued(self, issue: Issue) -> dict[str, Any]:
        tokens, grant, account = self.sign_ins.tokens, issue.family.grant, issue.family.grant.account
        claims = {
            "iss": ISSUER,
            "sub": f"auth0|DUMMY-{account.id('user')}",
            "https://api.openai.com/auth": {
                "chatgpt_account_id": account.id("account"),
                "chatgpt_plan_type": account.plan,
                "chatgpt_user_id": f"user-DUMMY-{account.id('user')}",
                "user_id": f"user-DUMMY-{account.id('user')}",
                "completed_platform_onboarding": True,
                "is_org_owner": False,
                "organizations": [],
            },
        }
        profile = {"email": account.email, "email_verified": True}
        access = tokens.signed(
            {**claims, "aud": ["https://api.openai.com/v1"], "https://api.openai.com/profile": profile},
            lifetime_s=issue.lifetime_s,
        )
        return {
            "id_token": tokens.signed(
                {**claims, **profile, "aud": [grant.client_id], "name": account.name}, lifetime_s=3600
            ),
            "access_token": tokens.know(access, issue.family, lifetime_s=issue.lifetime_s),
            **({} if issue.refresh is None else {"refresh_token": issue.refresh}),
            "token_type": "Bearer",
            "expires_in": issue.lifetime_s,
            "scope": grant.scope,
        }

    # -- the device flow -----------------------------------------------------------------------------------------------

    async def user_code(self, request: Request) -> Response:
        """Begin a device's sign-in."""
        try:
            client = (await fields_of(request)).get("client_id", "")
        except BadBodyError:
            client = ""
        if client not in VENDOR.client_ids:
            note_refusal(self.setting, request, "unknown client_id")
            return answer({"error": "invalid_client"}, 401)
        letters = "BCDFGHJKLMNPQRSTVWXZ"
        shown = "-".join("".join(secrets.choice(letters) for _ in range(4)) for _ in range(2))
        device = f"deviceauth_DUMMY{secrets.token_hex(12)}"
        self._devices[device] = _Device(client, shown, secrets.token_urlsafe(48))
        return answer({"device_auth_id": device, "user_code": shown, "interval": "1", "expires_in": "900"})

    async def device_token(self, request: Request) -> Response:
        """Tell a device whether its person is done: 403 while not."""
        try:
            asked = await fields_of(request)
        except BadBodyError:
            asked = {}
        device = self._devices.get(asked.get("device_auth_id", ""))
        if device is None or device.user_code != asked.get("user_code"):
            note_refusal(self.setting, request, "unknown device")
            return answer({"error": "invalid_grant"}, 400)
        if device.denied:
            return answer({"error": "access_denied"}, 400)
        if device.code is None:
            return answer({"error": "authorization_pending"}, 403)
        del self._devices[asked["device_auth_id"]]
        return answer(
            {
                "authorization_code": device.code,
                "code_challenge": s256(device.verifier),
                "code_verifier": device.verifier,
            }
        )

    async def device_page(self, request: Request) -> Response:
        """Ask the person for the code that their device shows, then sign them in."""
        await self.setting.slow()
        wrong = ""
        if request.method == "POST":
            typed = (await fields_of(request)).get("user_code", "").strip().upper()
            device = next((device for device in self._devices.values() if device.user_code == typed), None)
            if device is not None and device.code is None:
                return self._sign_in_for(device)
            wrong = "That code is not known."
        return page(
            "device",
            vendor=VENDOR.id,
            vendor_title=VENDOR.title,
            shown_as="device",
            title="Connect a device",
            action="/codex/device",
            wrong=wrong,
        )

    def _sign_in_for(self, device: _Device) -> Response:
        def finish(_: SignIn, grant: Grant | None) -> Response:
            if grant is None:
                device.denied = True
                return self.sign_ins.notice("Not connected", "You said no.", shown_as="done")
            device.code = self.sign_ins.tokens.code(
                grant, redirect_uri=_DEVICE_REDIRECT, challenge=s256(device.verifier)
            )
            return self.sign_ins.notice("Connected", "Go back to the command-line tool.", shown_as="done")

        sign_in = self.sign_ins.begin(client_id=device.client_id, scope=_SCOPE, finish=finish)
        return RedirectResponse(f"/practice/{sign_in.id}/email", status_code=303)


def _refused(error: GrantError) -> Response:
    """Refuse as the vendor does (openai/codex issue 6028 and pull request 24830 have its words and codes)."""
    if not isinstance(error, DeadFamilyError):
        return refusal(error)
    code, message = (
        ("refresh_token_reused", "Your refresh token has already been used to generate a new access token.")
        if error.reused
        else ("refresh_token_invalidated", "Your session has ended.")
    )
    told = {"message": f"{message} Please try signing in again.", "type": "invalid_request_error", "param": None}
    return answer({"error": {**told, "code": code}}, 401)


def hosts(setting: Setting) -> dict[str, list[BaseRoute]]:
    """Return the routes by name."""
    codex = Codex(setting)
    return {
        "auth.openai.com": [
            Route("/oauth/authorize", codex.sign_ins.authorize),
            Route("/oauth/token", token_endpoint(setting, codex.redeem, _refused), methods=["POST"]),
            Route("/api/accounts/deviceauth/usercode", codex.user_code, methods=["POST"]),
            Route("/api/accounts/deviceauth/token", codex.device_token, methods=["POST"]),
            Route("/codex/device", codex.device_page, methods=["GET", "POST"]),
            *codex.sign_ins.routes(),
        ],
        **codex_work.hosts(setting, codex.sign_ins.tokens),
    }
