"""``list`` and ``run``: run benchmarks on a memory."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Mapping
from functools import partial
from typing import Any

from visual_memory import Client
from visual_memory.options import VOTINGS
from visual_memory.terminal.arguments import (
    Commands,
    add,
    add_json,
    ask_server,
    file_or_folder,
    natural,
)
from visual_memory.terminal.output import print_json, print_table, say
from visual_memory.terminal.progress import Progress
from visual_memory.terminal.refused import listed
from visual_memory_benchmarks.commands.arguments import add_folder_of_data, add_out, positive
from visual_memory_benchmarks.commands.estimate import INTERVALS, interval
from visual_memory_benchmarks.commands.one_by_one import one_by_one
from visual_memory_benchmarks.runs.benchmarks import BENCHMARKS, Benchmark, choose
from visual_memory_benchmarks.runs.run import BATCH, Settings, run


def add_to(commands: Commands) -> None:
    parser = add(commands, "list", "list all benchmarks")
    add_json(parser)
    parser.set_defaults(run=list_benchmarks)
    parser = add(
        commands,
        "run",
        "ask a memory the questions of benchmarks; the same command goes on after an interruption",
    )
    ask_server(parser, run_benchmarks)
    parser.add_argument(
        "name", metavar="NAME", nargs="+", help="a benchmark, or a pattern such as 'distortion:*'"
    )
    parser.add_argument("--memory", metavar="NAME", required=True, help="who is asked; needed")
    add_folder_of_data(parser)
    add_out(parser)
    parser.add_argument(
        "--mapping",
        metavar="FILE.csv",
        type=file_or_folder,
        help="with the columns label,category: what labels of the memory stand for; na: nothing",
    )
    parser.add_argument(
        "-k",
        "--k",
        metavar="K",
        type=positive,
        default=50,
        help="neighbours that vote; default: 50",
    )
    parser.add_argument("--voting", choices=VOTINGS, default="rank", help="default: rank")
    parser.add_argument(
        "--limit",
        metavar="N",
        type=positive,
        help="at most so many pictures of each condition and category, chosen by the seed",
    )
    parser.add_argument(
        "--seed",
        metavar="N",
        type=natural,
        default=0,
        help="of chosen pictures, distortions and intervals; default: 0",
    )
    parser.add_argument(
        "--maker", metavar="NAME", help="of the memory in tables; default: MEMORY-VOTING-kK"
    )
    parser.add_argument(
        "--batch",
        metavar="N",
        type=positive,
        default=BATCH,
        help=f"pictures a message, which changes no answer; default: {BATCH}",
    )
    add_json(parser)


def list_benchmarks(options: Namespace) -> int:
    """Print every benchmark with its description."""
    if options.json:
        print_json({name: benchmark.summary for name, benchmark in BENCHMARKS.items()})
    else:
        print_table(("name", "what"), [(each.name, each.summary) for each in BENCHMARKS.values()])
    return 0


def run_benchmarks(client: Client, options: Namespace) -> int:
    """Run benchmarks one by one; return the exit code.

    Questions already answered by an earlier, unfinished run are skipped.
    """
    chosen = choose(options.name)
    settings = Settings(
        k=options.k,
        voting=options.voting,
        limit=options.limit,
        seed=options.seed,
        maker=options.maker,
        mapping=options.mapping,
        batch=options.batch,
    )

    def ask(benchmark: Benchmark) -> Any:
        with Progress(f"questions of {benchmark.name}") as progress:
            files = run(
                client,
                options.memory,
                benchmark,
                data=options.data,
                out=options.out,
                settings=settings,
                progress=progress.reach,
            )
        result = json.loads(files.results.read_bytes())
        if lacking := result["without_label"]:
            say(_lacking(benchmark.name, lacking, result["trials"]), file=sys.stderr)
        return result

    found, code = one_by_one({each.name: partial(ask, each) for each in chosen})
    if options.json and found:
        print_json(found)
    elif found:
        print_results(found)
        say("", f"Trials, records and results lie in {options.out}.")
    return code


def _lacking(name: str, lacking: Mapping[str, int], trials: int) -> str:
    return (
        f"{name}: {sum(lacking.values()):,} of {trials:,} pictures show what no label of the "
        f"memory stands for ({listed(lacking)}), and cannot be answered right."
    )


def print_results(found: dict[str, Any]) -> None:
    """Print a row for each benchmark, and for each condition if there are several."""
    rows = []
    for name, each in found.items():
        bias = each["shape_bias"]
        shape = interval(bias["bias"]) if bias else ""
        rows.append((name, "", each["trials_used"], interval(each["accuracy"]), shape))
        if len(each["by_condition"]) > 1:
            rows += [
                (name, condition, part["trials"], interval(part["accuracy"]), "")
                for condition, part in each["by_condition"].items()
            ]
    print_table(("benchmark", "condition", "pictures", "accuracy", "shape bias"), rows)
    say("", INTERVALS)
