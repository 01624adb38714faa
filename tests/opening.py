"""Opens stored credentials, as the service does it: on record."""

from __future__ import annotations

from antechamber.model import Actor, Purpose

BY = Actor.COMMAND_LINE


async def opened(signin, owner, provider):
    """Return what is in an owner's credential."""
    return (await signin.open_credential(owner, provider, purpose=Purpose.CHECK, by=BY))[1]
