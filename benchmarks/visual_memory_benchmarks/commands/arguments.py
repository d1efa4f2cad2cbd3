"""Options that several commands share."""

from __future__ import annotations

import os
from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path

from visual_memory.terminal.arguments import file_or_folder

DATA = Path("~/.local/share/visual-memory-bench")


def add_folder_of_data(parser: ArgumentParser) -> None:
    """Add --data, the folder of datasets."""
    parser.add_argument(
        "--data",
        metavar="DIR",
        type=folder,
        default=Path(os.environ.get("VISUAL_MEMORY_BENCH_DATA") or DATA.expanduser()),
        help="where the sets are; of folder, natural and distortion:*, which ask about your own "
        f"pictures, their folder of classes; default: $VISUAL_MEMORY_BENCH_DATA, else {DATA}",
    )


def add_out(parser: ArgumentParser) -> None:
    """Add --out, the folder of results."""
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=folder,
        default=Path("benchmark-runs"),
        help="where trials, records and results go; default: benchmark-runs",
    )


def folder(text: str) -> Path:
    """Parse the path of a folder, which need not exist. Raises ArgumentTypeError for a file."""
    path = file_or_folder(text)
    if path.exists() and not path.is_dir():
        raise ArgumentTypeError(f"must be a folder, but is a file: {text}")
    return path


def positive(text: str) -> int:
    """Parse a whole number of at least 1. Raises ArgumentTypeError."""
    value = int(text)
    if value < 1:
        raise ArgumentTypeError(f"must be at least 1, but is {text}")
    return value
