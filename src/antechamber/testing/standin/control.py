"""The control socket: what the robot and tests may ask of the stand-in, and set in it.

GET  /ca               the CA's certificate, PEM
GET  /names            {"names": [...], "pid": N}
GET  /beacons          ?after=N&wait=SECONDS -> {"beacons": [{n, page, host, path, vendor, sign_in, webdriver, at}]}
GET  /odd              {"odd": [{host, method, path, why}], "tls": [names asked for by TLS and not served]}
GET, POST /mode        the modes; POST changes those that it names, {"reset": true} all of them
GET  /families         {"families": [{vendor, id, client_id, email, revoked, renewals, rotations, reuses, refused,
                       refresh_sha256}]}: the tokens of each sign-in, and never a token itself
POST /families         {"id": ID, "end": "access" or "all"}: its access tokens are over, or it is revoked
POST /stop             end the process
"""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from antechamber.testing.standin.modes import Modes
from antechamber.testing.standin.setting import BadBodyError, Setting, json_object

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from antechamber.testing.standin.certificates import Authority
    from antechamber.testing.standin.front import Front

_LONGEST_WAIT = 60.0


def _families(setting: Setting) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint that tells of the tokens of each sign-in, and ends them."""

    async def families(request: Request) -> Response:
        if request.method == "POST":
            try:
                asked = json_object(await request.body())
                _end(setting, asked.get("id"), asked.get("end"))
            except BadBodyError as error:
                return JSONResponse({"error": str(error)}, 422)
        known = [(vendor, family) for vendor, tokens in setting.tokens.items() for family in tokens.families]
        return JSONResponse({"families": [{"vendor": vendor, **family.told()} for vendor, family in known]})

    return families


def _end(setting: Setting, wanted: object, what: object) -> None:
    found = [
        (tokens, family) for tokens in setting.tokens.values() for family in tokens.families if family.id == wanted
    ]
    if not found or what not in {"access", "all"}:
        raise BadBodyError("needs the id of a family and what ends: access or all")
    for tokens, family in found:
        tokens.end_access(family)
        family.revoked = family.revoked or what == "all"


def control(setting: Setting, authority: Authority, front: Front, stop: Callable[[], None]) -> Starlette:
    """Return the application of the control socket."""

    async def ca(_: Request) -> Response:
        return PlainTextResponse(authority.pem, media_type="application/x-pem-file")

    async def names(_: Request) -> Response:
        return JSONResponse({"names": front.names, "pid": os.getpid()})

    async def beacons(request: Request) -> Response:
        try:
            after = int(request.query_params.get("after", "0"))
            wait = float(request.query_params.get("wait", "0"))
        except ValueError:
            return JSONResponse({"error": "after and wait are numbers"}, 422)
        seconds = min(max(wait, 0.0), _LONGEST_WAIT)
        return JSONResponse({"beacons": await setting.journal.after(after, seconds)})

    async def odd(_: Request) -> Response:
        return JSONResponse({"odd": [asdict(entry) for entry in setting.journal.odd], "tls": authority.refused})

    async def mode(request: Request) -> Response:
        if request.method == "POST":
            try:
                asked = json_object(await request.body())
                present = {} if asked.pop("reset", False) else setting.modes.model_dump()
                setting.set(Modes.model_validate({**present, **asked}))
            except (BadBodyError, ValidationError) as error:
                return JSONResponse({"error": str(error)}, 422)
        return JSONResponse(setting.modes.model_dump(mode="json"))

    async def end(_: Request) -> Response:
        stop()
        return JSONResponse({})

    return Starlette(
        routes=[
            Route("/ca", ca),
            Route("/names", names),
            Route("/beacons", beacons),
            Route("/odd", odd),
            Route("/mode", mode, methods=["GET", "POST"]),
            Route("/families", _families(setting), methods=["GET", "POST"]),
            Route("/stop", end, methods=["POST"]),
        ]
    )
