"""The web: API, access, pages, event streams and the screen's relay. The only importer of the web framework.

Two sites on one port (`addresses`), one app (`app.create_app`), run by `server.serve`. What a route may use is in
`services`; who may use it is decided in `access`; what every request passes first is in `front`.
"""

from antechamber.web.addresses import Addresses, Site
from antechamber.web.app import WebApp, create_app, create_metrics_app
from antechamber.web.measured import Measured
from antechamber.web.server import Server, listen, serve
from antechamber.web.services import DriverAbout, Installation, InstalledTool, Live

__all__ = [
    "Addresses",
    "DriverAbout",
    "Installation",
    "InstalledTool",
    "Live",
    "Measured",
    "Server",
    "Site",
    "WebApp",
    "create_app",
    "create_metrics_app",
    "listen",
    "serve",
]
