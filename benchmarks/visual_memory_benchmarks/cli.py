"""The command line: which commands there are, and what each may be told."""

from __future__ import annotations

import os
from argparse import ArgumentParser, ArgumentTypeError, _SubParsersAction
from collections.abc import Sequence
from pathlib import Path

from visual_memory._terminal.arguments import (
    VOTINGS,
    Command,
    add,
    add_json,
    ask_server,
    natural,
    program,
)
from visual_memory_benchmarks.bootstrap import RESAMPLES
from visual_memory_benchmarks.commands import experiments, metrics, neighbors, report, runs, sets
from visual_memory_benchmarks.run import BATCH

DATA = Path("~/.local/share/visual-memory-bench")


def run(arguments: Sequence[str]) -> int:
    """Do what the arguments say; the exit code. Raises Refused, visual_memory.Error."""
    options = build_parser().parse_args(arguments)
    code: int = options.run(options)
    return code


def build_parser() -> ArgumentParser:
    """Every command with its options."""
    parser = program("visual-memory-bench", "Measure whether a memory sees as people do.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    add_runs(commands)
    add_metrics(commands)
    add_neighbors(commands)
    add_experiments(commands)
    add_data(commands)
    add_report(commands)
    return parser


def add_asking(
    commands: _SubParsersAction[ArgumentParser], name: str, command: Command, help: str
) -> ArgumentParser:
    """A command that asks a server."""
    parser = add(commands, name, help)
    ask_server(parser, command)
    return parser


def add_folder_of_data(parser: ArgumentParser) -> None:
    """Where the sets of pictures are."""
    parser.add_argument(
        "--data",
        metavar="DIR",
        type=Path,
        default=Path(os.environ.get("VISUAL_MEMORY_BENCH_DATA") or DATA.expanduser()),
        help=f"where the sets are; default: $VISUAL_MEMORY_BENCH_DATA, else {DATA}",
    )


def add_out(parser: ArgumentParser) -> None:
    """Where what is found goes."""
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        default=Path("benchmark-runs"),
        help="where trials, records and results go; default: benchmark-runs",
    )


def add_runs(commands: _SubParsersAction[ArgumentParser]) -> None:
    parser = add(commands, "list", "list all benchmarks")
    add_json(parser)
    parser.set_defaults(run=runs.list_benchmarks)
    parser = add_asking(
        commands,
        "run",
        runs.run_benchmarks,
        "ask a memory the questions of benchmarks; the same command goes on after an interruption",
    )
    parser.add_argument(
        "name", metavar="NAME", nargs="+", help="a benchmark, or a pattern such as 'distortion:*'"
    )
    parser.add_argument("--memory", metavar="NAME", required=True, help="who is asked")
    add_folder_of_data(parser)
    add_out(parser)
    parser.add_argument(
        "--mapping",
        metavar="FILE.csv",
        type=Path,
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


def add_metrics(commands: _SubParsersAction[ArgumentParser]) -> None:
    parser = add(commands, "metrics", "compare the trials of people and models")
    parser.add_argument(
        "folders",
        metavar="FOLDER",
        nargs="+",
        type=Path,
        help="with tables of trials in folders named as the sets are",
    )
    parser.add_argument(
        "--resamples",
        metavar="N",
        type=natural,
        default=RESAMPLES,
        help=f"draws of pictures behind the intervals; default: {RESAMPLES}",
    )
    parser.add_argument(
        "--seed", metavar="N", type=natural, default=0, help="of the draws; default: 0"
    )
    add_json(parser)
    parser.set_defaults(run=metrics.metrics)


def add_neighbors(commands: _SubParsersAction[ArgumentParser]) -> None:
    parser = add(commands, "neighbors", "write and compare neighbour-information files")
    kinds = parser.add_subparsers(metavar="ACTION", required=True)
    parser = add_asking(
        kinds, "export", neighbors.export, "write the nearest entries of each picture of a folder"
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="a folder per class")
    parser.add_argument("--memory", metavar="NAME", required=True, help="who is asked")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path(), help="default: this folder"
    )
    parser.add_argument(
        "--classes",
        metavar="FILE.csv",
        type=Path,
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
    parser.add_argument("first", metavar="FIRST.json", type=Path)
    parser.add_argument("second", metavar="SECOND.json", type=Path)
    add_json(parser)
    parser.set_defaults(run=neighbors.compare_files)


def add_experiments(commands: _SubParsersAction[ArgumentParser]) -> None:
    parser = add(commands, "experiments", "list all experiments on memories")
    add_json(parser)
    parser.set_defaults(run=experiments.list_experiments)
    parser = add_asking(
        commands,
        "experiment",
        experiments.run_experiments,
        "make memories, edit and ask them; what is found is not asked again",
    )
    parser.add_argument("name", metavar="NAME", nargs="+", help="an experiment, a pattern, or all")
    add_folder_of_data(parser)
    add_out(parser)
    parser.add_argument(
        "--embedder",
        metavar="NAME",
        default="efficientnet-lite0",
        help="default: efficientnet-lite0",
    )
    parser.add_argument(
        "--other-embedder",
        metavar="NAME",
        nargs="*",
        help="to compare with, where that is asked; default: what the experiment names",
    )
    add_json(parser)


def add_data(commands: _SubParsersAction[ArgumentParser]) -> None:
    parser = add(commands, "data", "list and fetch sets of pictures")
    kinds = parser.add_subparsers(metavar="ACTION", required=True)
    parser = add(kinds, "list", "list the sets, and whether they are there")
    add_folder_of_data(parser)
    add_json(parser)
    parser.set_defaults(run=sets.list_sets)
    parser = add(kinds, "get", "fetch a set, verify and unpack it; goes on after an interruption")
    parser.add_argument("name", metavar="NAME", help="of data list")
    add_folder_of_data(parser)
    parser.set_defaults(run=sets.get)


def add_report(commands: _SubParsersAction[ArgumentParser]) -> None:
    parser = add(commands, "report", "write one page of all results, with plots")
    add_folder_of_data(parser)
    add_out(parser)
    parser.add_argument(
        "--page",
        metavar="DIR",
        type=Path,
        default=Path("docs"),
        help="where results.md and its pictures go; default: docs",
    )
    parser.set_defaults(run=report.report)


def positive(text: str) -> int:
    """A number from 1."""
    value = int(text)
    if value < 1:
        raise ArgumentTypeError(f"must be at least 1, but is {text}")
    return value
