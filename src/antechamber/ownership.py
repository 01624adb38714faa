"""Whose an operator's own files are: what the service believes of them, nobody else may have written."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def others_may_write(*paths: Path) -> list[str]:
    """Tell which of them are not the operator's alone, a sentence each; one that is not there is left out."""
    faults = []
    for path in paths:
        try:
            found = path.stat()
        except OSError:
            continue  # said where it is read
        if found.st_uid not in {0, os.geteuid()}:
            faults.append(f"{path}: belongs to uid {found.st_uid}, and this runs as uid {os.geteuid()}")
        elif found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            faults.append(f"{path}: others may write to it")
    return faults
