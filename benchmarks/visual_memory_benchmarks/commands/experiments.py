"""``experiment``: run experiments on memories made for them."""

from __future__ import annotations

import hashlib
import json
import sys
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache, partial
from pathlib import Path
from typing import Any

from visual_memory import Client
from visual_memory.terminal.arguments import Commands, add, add_json, ask_server
from visual_memory.terminal.output import print_json, print_table, say
from visual_memory.terminal.progress import Progress
from visual_memory_benchmarks.commands.arguments import add_folder_of_data, add_out
from visual_memory_benchmarks.commands.one_by_one import one_by_one
from visual_memory_benchmarks.edits import study
from visual_memory_benchmarks.edits.material import gather
from visual_memory_benchmarks.edits.protocol import Protocol
from visual_memory_benchmarks.errors import UnknownExperiment
from visual_memory_benchmarks.experiments import EXPERIMENTS
from visual_memory_benchmarks.files import record
from visual_memory_benchmarks.files.file_lock import lock
from visual_memory_benchmarks.laboratory.experiment import Experiment
from visual_memory_benchmarks.laboratory.laboratory import Embedder
from visual_memory_benchmarks.laboratory.result import plain
from visual_memory_benchmarks.runs.run import VECTORS
from visual_memory_benchmarks.stimuli import stimuli
from visual_memory_benchmarks.stimuli.embeddings import Embeddings
from visual_memory_benchmarks.stimuli.stimuli import StimulusSet

FOLDER = "experiments"
ALL = "all"
EDITS = "edits"
TITLES = {name: each.title for name, each in EXPERIMENTS.items()} | {
    EDITS: "Edits against perception: what every kind of edit changes, against random ones"
}


def add_to(commands: Commands) -> None:
    parser = add(commands, "experiments", "list all experiments on memories")
    add_json(parser)
    parser.set_defaults(run=list_experiments)
    parser = add(
        commands, "experiment", "make memories, edit and ask them; what is found is not asked again"
    )
    ask_server(parser, run_experiments)
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


def list_experiments(options: Namespace) -> int:
    """Print every experiment with its title."""
    if options.json:
        print_json(TITLES)
    else:
        print_table(("name", "what"), TITLES.items())
    return 0


def run_experiments(client: Client, options: Namespace) -> int:
    """Run the experiments named in the options; return the exit code.

    Results of the same data, parameters and embedders are not computed again.
    """
    chosen = choose(options.name)
    load = cache(lambda name: stimuli.load(name, options.data / name))
    embed = cache(lambda name: Embeddings(client, name, options.out / VECTORS))
    folder = options.out / FOLDER
    folder.mkdir(parents=True, exist_ok=True)

    def do(name: str) -> Any:
        if name == EDITS:
            return _run_edits(client, options, folder)
        experiment = EXPERIMENTS[name]
        sets = {each: load(each) for each in experiment.data}
        others = experiment.others if options.other_embedder is None else options.other_embedder
        names = (options.embedder, *(others if experiment.others else ()))
        return _run(
            client, experiment, sets, [embed(each) for each in dict.fromkeys(names)], folder
        )

    found, code = one_by_one({name: partial(do, name) for name in chosen})
    if options.json and found:
        print_json(found)
    return code


def choose(names: Iterable[str]) -> list[str]:
    """Return the experiments of these names, patterns or ``all``. Raises UnknownExperiment."""
    chosen: dict[str, None] = {}
    for name in names:
        pattern = "*" if name == ALL else name
        found = [each for each in TITLES if fnmatchcase(each, pattern)]
        if not found:
            raise UnknownExperiment(
                f"No experiment is called {name}; choose all, or of {', '.join(TITLES)}."
            )
        chosen |= dict.fromkeys(found)
    return list(chosen)


def _run(
    client: Client,
    experiment: Experiment,
    sets: Mapping[str, StimulusSet],
    embedders: Sequence[Embedder],
    folder: Path,
) -> Any:
    path = folder / f"{experiment.name}.json"
    wanted = {
        "parameters": plain(experiment.parameters),
        "data": {name: sets[name].sha256 for name in experiment.data},
        "embedders": [dict(each.spec) for each in embedders],
        "intervals": experiment.intervals,
    }
    if path.exists():
        earlier = json.loads(path.read_bytes())
        if {key: earlier.get(key) for key in wanted} == wanted:
            say(f"{experiment.name}: {path} is there already.", file=sys.stderr)
            return earlier
    say(f"{experiment.name}: {experiment.title} …", file=sys.stderr)
    apart = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    with path.with_name(f".{path.stem}.lock").open("a") as file:
        lock(file, path)
        value = experiment.run(client, sets, embedders, apart=apart).to_json()
        _write(client, path, value)
    return value


def _run_edits(client: Client, options: Namespace, folder: Path) -> Any:
    """Run the study of edits, write its result into ``folder``, and return it.

    A killed study resumes from a file of its measurements.
    """
    say(f"{EDITS}: {TITLES[EDITS]} …", file=sys.stderr)
    with Progress(EDITS) as progress:
        material = gather(client, options.data, options.embedder, options.out / VECTORS)
        states = folder / f"{EDITS}.states.jsonl"
        value = study.run(client, material, Protocol(), states, progress.say)
    _write(client, folder / f"{EDITS}.json", value)
    return value


def _write(client: Client, path: Path, value: Mapping[str, Any]) -> None:
    """Write a result as JSON, and beside it a record of server and software."""
    record.write_json(path.with_suffix(".record.json"), record.start(client.server_info()))
    record.write_json(path, value)
