"""``triplets``: compare a memory's distances with people's answers to triplets."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from visual_memory import Client, Memory, NotFound
from visual_memory.terminal.arguments import Commands, add, add_json, ask_server, file_or_folder
from visual_memory.terminal.output import print_json, print_table, say
from visual_memory.terminal.refused import listed
from visual_memory_benchmarks.commands.estimate import INTERVALS, interval
from visual_memory_benchmarks.errors import UnknownPictures
from visual_memory_benchmarks.laboratory.intervals import ratio
from visual_memory_benchmarks.metrics import triplets


def add_to(commands: Commands) -> None:
    parser = add(
        commands, "triplets", "compare distances in a memory with answers of people in a file"
    )
    ask_server(parser, answer)
    parser.add_argument(
        "file",
        metavar="FILE.csv",
        type=file_or_folder,
        help="with the columns o,y,z,answer: ids of entries, and y or z, which of them is more "
        "like o",
    )
    parser.add_argument("--memory", metavar="NAME", required=True, help="who is asked; needed")
    add_json(parser)


def answer(client: Client, options: Namespace) -> int:
    """Print how often a memory's distances answer triplets as people did; return the exit code.

    A triplet asks which of y and z is more like o. The interval is by resampling the pictures o.
    """
    queries = triplets.read(options.file)
    names = sorted({name for each in queries for name in (each.o, each.y, each.z)})
    vectors = _vectors(client.memory(options.memory), names)
    rows = {name: row for row, name in enumerate(names)}
    found = triplets.closer(queries, rows, vectors)
    scores = triplets.agreed(found, triplets.answers(queries))
    picture = np.array([rows[each.o] for each in queries])
    accuracy = ratio(
        *(
            np.bincount(picture, each)[np.unique(picture)]
            for each in (scores, np.ones(len(queries)))
        )
    )
    value = {
        "triplets": len(queries),
        "pictures": len(names),
        "ties": int((found == 0).sum()),
        "accuracy": accuracy.to_json(),
    }
    if options.json:
        print_json(value)
    else:
        cells = (value["triplets"], value["pictures"], value["ties"], interval(accuracy.to_json()))
        print_table(("triplets", "pictures", "ties", "answered as people did"), [cells])
        say("", INTERVALS)
    return 0


def _vectors(memory: Memory, ids: Sequence[str]) -> NDArray[np.float32]:
    """Return the vectors of entries (n, d). Raises UnknownPictures."""
    found = np.empty((len(ids), memory.info().dimension), np.float32)
    missing = []
    for row, id in enumerate(ids):
        try:
            found[row] = memory.get(id, include_vector=True).vector
        except NotFound:
            missing.append(id)
    if missing:
        raise UnknownPictures(
            f"The memory {memory.name} has no entries with these ids: {listed(missing)}. Name the "
            "pictures by the ids of their entries, such as cat/0.jpg."
        )
    return found
