"""The host's end of a machine's way out: what it may reach, and the bytes that it moves.

A machine has no network card. Its guest asks this floor for a *name* and a port; here the name is judged, resolved,
every address is judged, and a connection is made to exactly an address that was judged. TLS stays end to end; its
server name, which is in the clear, is held to the name that was asked for.

- `policy`: pure decisions about names and addresses (`names`, `addresses` hold the rules).
- `world`: the resolver, the connector and the trust anchors, which are all that differs between `serve` and `demo`.
- `door`: `Egress`, one for each machine, which answers the guest's requests.
- `look_ups`: one session's look-ups and what it may have of them.
- `gate`: what a connection to port 443 has to say first; `client_hello` reads it.
- `ledger`: who was asked for and what was moved; `limits`: how much of it one session gets.
"""

from antechamber.egress.door import Egress
from antechamber.egress.ledger import Use, Verdict, matches
from antechamber.egress.limits import Limits
from antechamber.egress.policy import Judgement, Policy, host_addresses
from antechamber.egress.world import (
    Connector,
    DirectConnector,
    Resolution,
    Resolver,
    SystemResolver,
    World,
    real_world,
)

BROWSER_BACKGROUND_HOSTS = ("clients2.google.com", "update.googleapis.com")
"""What Chromium 156 asks for by itself, whatever its flags and policies say (measured); refused and shown apart."""

__all__ = [
    "BROWSER_BACKGROUND_HOSTS",
    "Connector",
    "DirectConnector",
    "Egress",
    "Judgement",
    "Limits",
    "Policy",
    "Resolution",
    "Resolver",
    "SystemResolver",
    "Use",
    "Verdict",
    "World",
    "host_addresses",
    "matches",
    "real_world",
]
