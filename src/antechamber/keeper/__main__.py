"""Started by path as `python3 -I -S …/keeper/__main__.py FOLDER FD…`: leaves its starter behind and keeps one machine.

The descriptors are, in this order: the machine's lock, the pipe on which the starter waits for the first word, and any
further locks that last as long as the keeper.
"""

import os
import sys


def main() -> None:
    """Fork twice, so that nothing of the starter's session, terminal or descriptors is left, and keep the machine."""
    # by path, isolated and without site: appended, so that nothing there can shadow the standard library
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))  # noqa: PTH100, PTH120 - pathlib costs 10 ms here
    from antechamber.keeper import keep  # noqa: PLC0415 - not found before the line above

    if os.fork() != 0:
        os._exit(0)
    os.setsid()
    if os.fork() != 0:
        os._exit(0)
    os.chdir("/")
    os.umask(0o077)
    keep.run(sys.argv[1], [int(number) for number in sys.argv[2:]])


if __name__ == "__main__":
    main()
