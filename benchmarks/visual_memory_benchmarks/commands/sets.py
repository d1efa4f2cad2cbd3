"""``data``: sets of pictures, listed and fetched."""

from __future__ import annotations

import sys
from argparse import Namespace

from visual_memory._terminal.output import print_json, print_table
from visual_memory._terminal.progress import Progress
from visual_memory_benchmarks import data
from visual_memory_benchmarks.sources import SOURCES
from visual_memory_benchmarks.tasks import place


def list_sets(options: Namespace) -> int:
    """Every set with its terms, how it comes, and whether it is there."""
    rows = [
        {
            "name": name,
            "there": place(name, options.data) is not None,
            "fetched": source.fetched,
            "terms": source.terms,
            "layout": source.layout,
            "page": source.page,
        }
        for name, source in SOURCES.items()
    ]
    if options.json:
        print_json(rows)
        return 0
    print_table(
        ("name", "there", "comes", "terms", "layout", "page"),
        [
            (
                row["name"],
                "yes" if row["there"] else "no",
                "by data get" if row["fetched"] else "by hand",
                row["terms"],
                row["layout"],
                row["page"],
            )
            for row in rows
        ],
    )
    return 0


def get(options: Namespace) -> int:
    """Fetch, verify and unpack."""
    source = data.source(options.name)
    with Progress("bytes") as progress:
        notes = data.get(source, options.data, lambda _, done, total: progress.reach(done, total))
    for note in notes:
        print(note, file=sys.stderr)
    print(f"{options.data / source.name} ({source.terms})")
    return 0
