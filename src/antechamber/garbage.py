"""When Python looks for garbage: not while a program starts.

Loading a thousand modules and making the routes leaves 150,000 objects and next to no garbage; looking through them
again and again took nearly a fifth of a service's start.
"""

from __future__ import annotations

import gc
from typing import Final

_STARTING: Final = 200_000
"""New objects until a look: a command that works for long is still looked after."""
_AS_USUAL: Final = (700, 10, 10)
"""Python's own numbers."""


def starting() -> None:
    """Have a start in peace; to be called before anything large is imported."""
    gc.set_threshold(_STARTING)


def started() -> None:
    """Look for garbage as usual from here on, and never again among what the start has made.

    Does nothing where `starting` was not called: a program that has this service in it has numbers of its own.
    """
    if gc.get_threshold()[0] == _STARTING:
        gc.freeze()
        gc.set_threshold(*_AS_USUAL)
