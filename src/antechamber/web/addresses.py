"""The two addresses of a service: the dashboard's and the sign-in pages'.

They are hosts of their own because a cookie ignores ports and a path is no wall: whatever a hostile screen could do in
a sign-in page's origin, the dashboard's cookie is out of its reach.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from antechamber.errors import Code, OperatorError

if TYPE_CHECKING:
    from antechamber.settings import Settings

_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}


def _normal(scheme: str, host: str) -> str:
    """Return a Host header's value in one form: lower case, without the scheme's own port."""
    name, _, port = host.lower().rpartition(":")
    # of two ports neither is left out: that is no host of ours
    alone = name.endswith("]") or (name and ":" not in name)
    return name if alone and port == _DEFAULT_PORTS[scheme] else host.lower()


@dataclass(frozen=True, slots=True)
class Site:
    """One public address, such as `http://localhost:8700`."""

    url: str
    """The base URL, without a path; it is also the site's origin."""

    @property
    def scheme(self) -> str:
        """`http` or `https`."""
        return self.url.partition("://")[0]

    @property
    def host(self) -> str:
        """Host and port as a browser sends them in the Host header."""
        return _normal(self.scheme, self.url.partition("://")[2])

    @property
    def origin(self) -> str:
        """The origin as a browser writes it."""
        return f"{self.scheme}://{self.host}"

    @property
    def websocket_origin(self) -> str:
        """The same address for a WebSocket."""
        return f"{'wss' if self.secure else 'ws'}://{self.host}"

    @property
    def secure(self) -> bool:
        """Whether browsers reach it by https, so that cookies can be Secure."""
        return self.scheme == "https"

    def answers(self, host: str) -> bool:
        """Tell whether a request with that Host header is for this site."""
        return _normal(self.scheme, host) == self.host


def _is_local(site: Site) -> bool:
    return urlsplit(site.origin).hostname in _LOCAL


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where browsers and callers reach this service."""

    dashboard: Site
    sign_in: Site

    @classmethod
    def of(cls, settings: Settings, port: int) -> Addresses:
        """Return the addresses of a service that listens on that port.

        Raises OperatorError (misconfigured) when both have one host name: cookies ignore ports, so one of the two
        sites would be sent the other's.
        """
        addresses = cls(
            Site(settings.dashboard_url or f"http://127.0.0.1:{port}"),
            Site(settings.sign_in_url or f"http://localhost:{port}"),
        )
        if urlsplit(addresses.dashboard.origin).hostname == urlsplit(addresses.sign_in.origin).hostname:
            raise OperatorError(
                Code.MISCONFIGURED,
                message="dashboard_url and sign_in_url have the same host name.",
                next_step="Give the sign-in pages a host name of their own; a port of their own is not enough.",
            )
        if settings.embed_origins and not (addresses.sign_in.secure or _is_local(addresses.sign_in)):
            raise OperatorError(
                Code.MISCONFIGURED,
                message="embed_origins are set, and sign_in_url is not https: a browser keeps no cookie in a frame so.",
                next_step="Give sign_in_url by https, or no embed_origins.",
            )
        return addresses
