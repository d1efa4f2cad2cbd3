"""Output files of commands, which only ``--force`` replaces."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from pathlib import Path

from visual_memory.terminal.refused import Refused


def add_force(parser: ArgumentParser, what: str) -> None:
    """Add --force."""
    parser.add_argument("--force", action="store_true", help=f"overwrite {what}")


def refuse(path: Path, *, force: bool) -> None:
    """Raise Refused if no file can be written at ``path``; to be called before any work."""
    if path.is_dir():
        raise Refused(f"{path} is a folder; name a file in it.")
    if path.exists() and not path.is_file():
        raise Refused(f"{path} is no file that could be replaced; name another.")
    if os.path.lexists(path) and not force:
        raise Refused(f"{path} exists already; use --force to overwrite it.")
    if not path.resolve().parent.is_dir():
        raise Refused(f"There is no folder for {path}.")
