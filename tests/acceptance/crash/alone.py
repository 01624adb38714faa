"""A life in an interpreter of its own that starts as the program itself does: whoever measures a start needs it."""

from __future__ import annotations

import json
import sys

from antechamber import garbage


def main() -> None:
    """Live as the first argument says."""
    garbage.starting()
    from tests.acceptance.crash.life import Order, run

    run(Order(**json.loads(sys.argv[1])))


if __name__ == "__main__":
    main()
