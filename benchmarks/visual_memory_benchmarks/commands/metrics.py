"""``metrics``: summarise tables of trials of people and models."""

from __future__ import annotations

from argparse import Namespace

from visual_memory.terminal.arguments import Commands, add, add_json, file_or_folder, natural
from visual_memory.terminal.output import print_json, print_table, say
from visual_memory_benchmarks.commands.estimate import INTERVALS, interval
from visual_memory_benchmarks.metrics.bootstrap import RESAMPLES, Resampling
from visual_memory_benchmarks.metrics.dataset_summary import Json
from visual_memory_benchmarks.metrics.summary import summarise
from visual_memory_benchmarks.trials.trials import PEOPLE


def add_to(commands: Commands) -> None:
    parser = add(commands, "metrics", "compare the trials of people and models")
    parser.add_argument(
        "folders",
        metavar="FOLDER",
        nargs="+",
        type=file_or_folder,
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
    parser.set_defaults(run=metrics)


def metrics(options: Namespace) -> int:
    """Print a summary of all tables of trials below the given folders; return the exit code."""
    resampling = Resampling(options.resamples, options.seed)
    found = summarise(*options.folders, resampling=resampling)
    if options.json:
        print_json(found)
    else:
        print_summary(found)
    return 0


def print_summary(found: Json) -> None:
    """Print accuracy, consistency with people and shape bias, over all datasets and for each."""
    bias = found["shape_bias"] or {"humans": None}
    rows = [] if found["humans"] is None else [_row(PEOPLE, found["humans"], bias["humans"])]
    rows += [
        _row(name, each, each["shape_bias"] and {"bias": each["shape_bias"]})
        for name, each in found["models"].items()
    ]
    columns = ("accuracy", "observed consistency", "error consistency")
    print_table(("who", "sets", *columns, "shape bias"), rows)
    say("")
    print_table(
        ("set", "who", *columns),
        [
            (name, who, *_measures(part, "accuracy"))
            for name, each in found["datasets"].items()
            for who, part in _parts(each)
        ],
    )
    if board := found["leaderboard"]:
        say("")
        print_table(
            ("most like people", "mean rank"),
            [(each["model"], each["mean_rank"]) for each in board["human_likeness"]],
        )
    say("", INTERVALS, "Consistency is with people.")


def _row(who: str, part: Json, bias: Json | None) -> tuple[object, ...]:
    shape = interval(bias["bias"]) if bias else ""
    sets = part["datasets"]
    count = sets if isinstance(sets, int) else len(sets)
    return (who, count, *_measures(part, "ood_accuracy"), shape)


def _measures(part: Json, accuracy: str) -> tuple[str, str, str]:
    first, second, third = (
        interval(part[name]) for name in (accuracy, "observed_consistency", "error_consistency")
    )
    return first, second, third


def _parts(dataset: Json) -> list[tuple[str, Json]]:
    people = [(PEOPLE, dataset["humans"])] if dataset["humans"] else []
    return [*people, *dataset["models"].items()]
