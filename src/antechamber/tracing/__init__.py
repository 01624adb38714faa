"""A trace of each sign-in, for who has a collector of OpenTelemetry's; off unless one is named.

Nothing is kept while a sign-in runs: its trace is made from its committed events once it is over (`story`), with their
own times, and so is whole however often the service was started anew meanwhile. `export` gives it to the collector.
"""

from antechamber.tracing.export import Tracing
from antechamber.tracing.story import Span, Story, parent_of

__all__ = ["Span", "Story", "Tracing", "parent_of"]
