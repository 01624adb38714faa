"""Proving that a machine holds what is in it: attempts to get out of a real one, each of which must be refused.

- `catalogue`: what is attempted, at which wall, and what has to become of it.
- `attempts`: the program that attempts it, in the machine; standard library only.
- `bombs`: the program that takes more than its share, or speaks at its doors as no guest does; the same.
- `floods`: how the service and another machine fare meanwhile.
- `targets`: what lies ready on the host to be reached, and tells whether it was.
- `ways_out`: names and requests for the egress door, in front of a network that is made up.
- `suite`: starts the machine, and compares what the machine says with what the host saw.

Nothing of it sends a packet anywhere: what the egress would let out is counted, and not connected to.
"""

from antechamber.isolation.catalogue import CATALOGUE, Attempt
from antechamber.isolation.suite import Finding, prove

__all__ = ["CATALOGUE", "Attempt", "Finding", "prove"]
