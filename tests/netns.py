"""Run a command in a network namespace of its own with nothing but `lo`, as the same user; standard library only.

As root: one unshare. As a user: a user namespace in which one is root makes the network namespace and sets `lo` up, and
a second one maps back to the person's own uid, so that everything runs without capabilities, as it would outside.
"""

from __future__ import annotations

import os
import shlex
import sys


def argv(command: list[str], *, low_ports: bool = False) -> list[str]:
    """Return the command line that runs the command in such a namespace; with `low_ports` a user may take them too."""
    inner = shlex.join(command)
    up = "ip link set lo up"
    if low_ports:
        up += " && echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start"
    if os.geteuid() == 0:
        return ["unshare", "--net", "sh", "-c", f"{up} && exec {inner}"]
    back = f"unshare --user --map-user={os.getuid()} --map-group={os.getgid()}"
    return ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", f"{up} && exec {back} {inner}"]


if __name__ == "__main__":
    line = argv(sys.argv[1:])
    os.execvp(line[0], line)
