"""``accept``: take over a memory's file that does not fit what the catalog recorded of it."""

from __future__ import annotations

from argparse import Namespace
from contextlib import closing

from visual_memory.terminal.arguments import Commands, add
from visual_memory.terminal.output import plural, printable
from visual_memory.terminal.refused import Refused
from visual_memory_service.console import server_libraries
from visual_memory_service.console.arguments import add_apply, add_path

BY_THIS = " with: visual-memory accept "  # the advice of the refusal to run this command


def add_to(commands: Commands) -> None:
    parser = add(
        commands,
        "accept",
        "take over a memory's file that is older than the server recorded, or not in its list",
    )
    parser.add_argument("name", metavar="NAME", help="the memory")
    add_path(
        parser, "--data", "DIR", "the data folder, which no server may use meanwhile", required=True
    )
    add_apply(parser)
    parser.set_defaults(run=accept)


def accept(options: Namespace) -> None:
    """Print how a memory's file differs from its catalog record; ``--apply`` accepts the file.

    Raises Refused if there is no such folder or memory, if a server uses the folder, or if the file
    is damaged.
    """
    server_libraries.need("accepting a memory")
    from visual_memory_index import Catalog, Memory
    from visual_memory_index.errors import MemoryRefusal, in_full
    from visual_memory_service.decisions.calibration import SETTING

    if not (options.data / "catalog.sqlite").is_file():
        raise Refused(f"{options.data} is no data folder of a server: it has no catalog.sqlite.")
    try:
        with closing(Catalog(options.data)) as catalog:
            doubt = catalog.doubt(options.name)
            if doubt is None:
                print(f"{options.name} is as it was noted last, so nothing is to be accepted.")
                return
            doubted, _, _ = in_full(doubt.refusal).partition(BY_THIS)
            print(printable(f"{doubted.removesuffix('.')}."))
            with catalog.accepting(doubt, settings=(SETTING,)) as rebuilt:
                with closing(Memory.open(rebuilt.path)) as memory:
                    entries = plural(memory.info().count, "entry")
                if options.apply:
                    catalog.accept(doubt, rebuilt)
    except MemoryRefusal as refusal:
        raise Refused(in_full(refusal)) from None
    left_out = f", without {rebuilt.left_out:,} that were unlearned" if rebuilt.left_out else ""
    done = "is accepted" if options.apply else "would be accepted; --apply does it"
    print(f"What the file holds, {entries}{left_out}, {done}.")
