"""Makes what the database says true: starts, finds, watches and ends machines, and keeps every deadline.

One *attendant* task per machine that has not ended (`attendant.py`) does what its rows ask for; the loop sees that
each such row has one. All of it is derived from the database, so that a service that was killed goes on where it was.
The *errand* of a machine (`errands.py`) is what its reports mean: a sign-in, or the check of a credential.
"""

from antechamber.reconciler.loop import Reconciler
from antechamber.reconciler.reclaim import reclaim
from antechamber.reconciler.running import Live

__all__ = ["Live", "Reconciler", "reclaim"]
