"""``neighbors``: write and compare neighbour-information files of a served memory."""

from __future__ import annotations

import csv
from argparse import Namespace
from pathlib import Path

from visual_memory import Client, InvalidArgument
from visual_memory.terminal.arguments import Commands, add, add_json, ask_server, file_or_folder
from visual_memory.terminal.output import print_json, print_table, say
from visual_memory.terminal.progress import Progress
from visual_memory_benchmarks.commands.arguments import positive
from visual_memory_benchmarks.errors import BadFile
from visual_memory_benchmarks.neighbors import neighbor_files
from visual_memory_benchmarks.neighbors.comparison import compare
from visual_memory_benchmarks.neighbors.neighbor_files import NeighborInfo, file_name
from visual_memory_benchmarks.stimuli import stimuli

BATCH = 64
HEADER = ["label", "class"]


def add_to(commands: Commands) -> None:
    parser = add(commands, "neighbors", "write and compare neighbour-information files")
    kinds = parser.add_subparsers(metavar="ACTION", required=True)
    parser = add(kinds, "export", "write the nearest entries of each picture of a folder")
    ask_server(parser, export)
    parser.add_argument("folder", metavar="FOLDER", type=file_or_folder, help="a folder per class")
    parser.add_argument("--memory", metavar="NAME", required=True, help="who is asked; needed")
    parser.add_argument(
        "--out", metavar="DIR", type=file_or_folder, default=Path(), help="default: this folder"
    )
    parser.add_argument(
        "--classes",
        metavar="FILE.csv",
        type=file_or_folder,
        help="with the columns label,class; default: labels are numbered by the alphabet",
    )
    parser.add_argument("--memory-split", metavar="NAME", default="all", help="default: all")
    parser.add_argument("--query-split", metavar="NAME", default="all", help="default: all")
    parser.add_argument(
        "-k",
        "--k",
        metavar="K",
        type=positive,
        default=100,
        help="neighbours; default: 100; take 101 where the pictures are entries themselves",
    )
    parser = add(kinds, "compare", "say how far two files agree")
    parser.add_argument("first", metavar="FIRST.json", type=file_or_folder, help="of one memory")
    parser.add_argument("second", metavar="SECOND.json", type=file_or_folder, help="of another")
    add_json(parser)
    parser.set_defaults(run=compare_files)


def export(client: Client, options: Namespace) -> int:
    """Write the entries nearest to each picture of a folder to a neighbour-information file.

    Return the exit code.
    """
    memory = client.memory(options.memory)
    info = memory.info()
    found = stimuli.load(options.folder.name, options.folder)
    if options.classes:
        classes = read_classes(options.classes)
    else:
        classes = {label: at for at, label in enumerate(sorted({*info.labels, *found.categories}))}
    model = info.embedder.name if info.embedder else f"vectors-{info.dimension}"
    name = file_name(options.memory, options.memory_split, found.name, options.query_split, model)
    queries: list[NeighborInfo] = []
    with Progress("pictures") as progress:
        for start in range(0, len(found.stimuli), BATCH):
            progress.reach(start, len(found.stimuli))
            batch = found.stimuli[start : start + BATCH]
            files = [each.file for each in batch]
            try:
                queries += neighbor_files.export(
                    memory,
                    files,
                    [each.category for each in batch],
                    classes,
                    featurizer=model,
                    images=[found.read(each) for each in batch],
                    k=options.k,
                )
            except InvalidArgument as error:
                raise stimuli.unreadable(error, files) from None
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / name
    neighbor_files.write(path, queries)
    say(str(path))
    return 0


def compare_files(options: Namespace) -> int:
    """Print how far two neighbour-information files agree; return the exit code.

    Raises BadFile if they have no query in common.
    """
    found = compare(neighbor_files.read(options.first), neighbor_files.read(options.second))
    if found is None:
        problem = f"it has no query in common with {options.second}"
        raise BadFile(options.first, problem, "compare files of the same pictures")
    value = found.to_json()
    if options.json:
        print_json(value)
        return 0
    overlap = value.pop("overlap")
    rows = [(name.replace("_", " "), each) for name, each in value.items()]
    rows += [(f"overlap of the {depth} nearest", each) for depth, each in overlap.items()]
    print_table(("what", "value"), [(name, "–" if x is None else f"{x:.6g}") for name, x in rows])
    return 0


def read_classes(path: Path) -> dict[str, int]:
    """Read a map of labels to class numbers from a CSV file with the columns label,class.

    Raises BadFile.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        if header != HEADER:
            raise BadFile(path, f"the header is {','.join(header)!r}", "write label,class")
        return {label: int(value) for label, value in filter(None, rows)}
    except (OSError, ValueError, csv.Error) as error:
        raise BadFile(path, f"cannot be read ({error})", "write lines LABEL,NUMBER") from None
