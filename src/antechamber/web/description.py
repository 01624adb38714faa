"""What /openapi.json says: the routes of both sites, on which host each is, who may call it, and how it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastapi.openapi.utils import get_openapi

from antechamber.web import access, callers, cookies, refusals

if TYPE_CHECKING:
    from fastapi import FastAPI

    from antechamber.web.addresses import Addresses, Site

_OPERATOR: Final = "operator_token"
_DASHBOARD: Final = "dashboard_cookie"
_METRICS: Final = "metrics_token"
_API_KEY: Final = "api_key"
_SESSION: Final = "session_cookie"
_SUCCESS: Final = "2"


def of_both(dashboard: FastAPI, sign_in: FastAPI, addresses: Addresses) -> dict[str, Any]:
    """Return the description of both sites; an operation of both stands once, with both its servers and answers."""
    described = _of(dashboard, addresses.dashboard)
    persons = _of(sign_in, addresses.sign_in)
    for site, opened_by in ((described, _opened_by_operator), (persons, _opened_by_person)):
        for path, item in site["paths"].items():
            for method, operation in item.items():
                operation["security"] = opened_by(method.upper(), path)
    for path, item in persons["paths"].items():
        here = described["paths"].setdefault(path, {})
        for method, operation in item.items():
            if method in here:
                _add_answers(here[method], operation)
                here[method]["security"] += operation["security"]
                here[method]["servers"] = [*described["servers"], *persons["servers"]]
            else:
                here[method] = {**operation, "servers": persons["servers"]}
    for path, item in described["paths"].items():
        for method, operation in item.items():
            operation["x-error-codes"] = sorted(refusals.of(method.upper(), path))
    for name, schema in persons["components"]["schemas"].items():
        described["components"]["schemas"].setdefault(name, schema)
    described["components"]["securitySchemes"] = _schemes(addresses)
    return described


def _of(app: FastAPI, site: Site) -> dict[str, Any]:
    return get_openapi(title=app.title, version=app.version, routes=app.routes, servers=[{"url": site.url}])


def _add_answers(operation: dict[str, Any], other: dict[str, Any]) -> None:
    """Say of an operation that it may answer as the other site's does."""
    for status, response in other["responses"].items():
        for kind, content in response.get("content", {}).items() if status.startswith(_SUCCESS) else ():
            here = operation["responses"][status]["content"][kind]
            if here["schema"] != content["schema"]:
                here["schema"] = {"anyOf": [here["schema"], content["schema"]]}


def _opened_by_operator(method: str, path: str) -> list[dict[str, list[str]]]:
    if path in access.OPEN_PATHS:
        return []
    schemes = [_OPERATOR, _DASHBOARD, _METRICS] if path == access.METRICS_PATH else [_OPERATOR, _DASHBOARD]
    opened: list[dict[str, list[str]]] = [{scheme: []} for scheme in schemes]
    if (method, path) in callers.HANDS_OUT:
        opened = []
    if (method, path) in callers.RIGHTS:
        scope = callers.RIGHTS[method, path]
        opened.append({_API_KEY: [] if scope is None else [str(scope)]})
    return opened


def _opened_by_person(_method: str, path: str) -> list[dict[str, list[str]]]:
    if path in access.PERSON_OPEN_PATHS or path in access.EXCHANGE_PATHS:
        return []
    return [{_SESSION: []}]


def _schemes(addresses: Addresses) -> dict[str, Any]:
    return {
        _OPERATOR: {"type": "http", "scheme": "bearer", "description": "The token of the file operator-token."},
        _API_KEY: {"type": "http", "scheme": "bearer", "description": "An application's key, with the scope named."},
        _METRICS: {"type": "http", "scheme": "bearer", "description": "The token of the file metrics-token."},
        _DASHBOARD: {"type": "apiKey", "in": "cookie", "name": cookies.dashboard_cookie(addresses.dashboard)},
        _SESSION: {
            "type": "apiKey",
            "in": "cookie",
            "name": cookies.session_cookie(addresses.sign_in, "{session_id}"),
            "description": "`{session_id}` stands for the session's id: each session has a cookie of its own.",
        },
    }
