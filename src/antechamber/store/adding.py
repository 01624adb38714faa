"""The statement that adds to a row or makes it: written alike for both databases, by each one's own INSERT."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Table
    from sqlalchemy.dialects import postgresql, sqlite


def adding(
    statement: postgresql.Insert | sqlite.Insert,
    table: Table,
    key: Sequence[str],
    add: Sequence[str],
    take: Sequence[str],
) -> postgresql.Insert | sqlite.Insert:
    """Return the INSERT of a row as one that, where the row's key exists, adds to some columns and takes others."""
    changes: dict[str, Any] = {name: table.c[name] + statement.excluded[name] for name in add}
    changes |= {name: statement.excluded[name] for name in take}
    return statement.on_conflict_do_update(index_elements=list(key), set_=changes)
