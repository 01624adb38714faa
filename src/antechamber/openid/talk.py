"""Asking the issuer: bounded in time and size, by TLS that is verified, and nobody that it leads on to."""

from __future__ import annotations

import asyncio
import json
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import httpx

from antechamber.errors import Code, OperatorError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta
    from pathlib import Path

_LARGEST: Final = 256 * 1024
_SAID: Final = 200
_JSON: Final = frozenset({"application/json", "application/jwk-set+json"})


@dataclass(frozen=True, slots=True)
class Said:
    """An answer: HTTP's status and the object that it brought."""

    status: int
    body: Mapping[str, Any]


def unavailable(detail: str) -> OperatorError:
    """Return the error of an issuer that does not answer; it is worth to try again."""
    return OperatorError(Code.ISSUER_UNAVAILABLE, detail=detail)


def not_believed(detail: str) -> OperatorError:
    """Return the error of an issuer that answers what it must not."""
    return OperatorError(Code.ISSUER_NOT_BELIEVED, detail=detail)


class Talk:
    """How one issuer is asked."""

    def __init__(self, *, authorities: Path | None, within: timedelta) -> None:
        """Trust these authorities alone, or the system's; each answer has the time `within`, from first to last byte.

        Raises OperatorError misconfigured where the file holds none.
        """
        self._within = within
        try:
            self._trusted = ssl.create_default_context(cafile=authorities)
        except OSError as error:
            raise OperatorError(
                Code.MISCONFIGURED,
                message=f"{authorities} holds no certificate authorities that can be read.",
                next_step="Correct ANTECHAMBER_OIDC_CA_FILE.",
                detail=str(error),
            ) from error

    async def ask(
        self, what: str, url: str, *, body: str | None = None, headers: Mapping[str, str] | None = None
    ) -> Said:
        """Get that address, or post a form to it; `what` says in a log what is asked for.

        Raises OperatorError issuer_unavailable or issuer_not_believed.
        """
        method = "GET" if body is None else "POST"
        # what the environment says of proxies and authorities is not for what the client's secret is shown to; what is
        # packed could be of any size once it is unpacked
        sent = {"Accept": "application/json", **(headers or {}), "Accept-Encoding": "identity"}
        try:
            async with (
                asyncio.timeout(self._within.total_seconds()),
                httpx.AsyncClient(
                    verify=self._trusted, trust_env=False, follow_redirects=False, timeout=self._within.total_seconds()
                ) as client,
                client.stream(method, url, headers=sent, content=body) as response,
            ):
                return _read(what, response, await _bytes(what, response))
        except TimeoutError as error:
            raise unavailable(f"{what}: no whole answer within {self._within.total_seconds():g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise unavailable(f"{what}: {type(error).__name__}: {error}"[:_SAID]) from error


async def _bytes(what: str, response: httpx.Response) -> bytes:
    raw = bytearray()
    async for piece in response.aiter_raw():
        raw += piece
        if len(raw) > _LARGEST:
            raise not_believed(f"{what}: an answer without end")
    return bytes(raw)


def _read(what: str, response: httpx.Response, raw: bytes) -> Said:
    status = response.status_code
    if status >= httpx.codes.INTERNAL_SERVER_ERROR or status == httpx.codes.TOO_MANY_REQUESTS:
        raise unavailable(f"{what}: HTTP {status}")
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _JSON or response.headers.get("content-encoding", "identity").lower() != "identity":
        raise not_believed(f"{what}: HTTP {status}, and no plain JSON")
    try:
        body = json.loads(raw)
    # so deep that it cannot be read, or a number that is too long
    except (ValueError, RecursionError) as error:
        raise not_believed(f"{what}: HTTP {status}, and no well-formed JSON") from error
    if not isinstance(body, dict):
        raise not_believed(f"{what}: HTTP {status}, and no object")
    return Said(status, body)
