"""``report``: one page of all results."""

from __future__ import annotations

from argparse import Namespace

from visual_memory_benchmarks.report import write

PEOPLE = "human_responses"


def report(options: Namespace) -> int:
    """Write the page with its pictures, from what was written by runs and experiments."""
    print(write(options.out, options.data / PEOPLE, options.page))
    return 0
