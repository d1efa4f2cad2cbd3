"""Decisions of a memory compared with trained classifiers on the same vectors, by splits.py.

Rows are appended to a CSV as they are found; killed, it goes on where it was, so delete the CSV
where the service or the vectors have changed. standings.py makes tables of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import splits
from crops import Vectors, embedded
from numpy.typing import NDArray
from rows import Answers, Cell, append, judged, read
from served import own_client
from trained import CANDIDATES, CLASSIFIERS

from visual_memory import Client, Decision, Memory

DEVELOPMENT_SEEDS = range(100, 102)  # on which the parameters of CLASSIFIERS were chosen
FEW = 10  # dimensions of hard vectors


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """A split as vectors: entries (m, d) with the labels given to them, and queries (n, d).

    ``pictures`` names the picture of each entry, of which it may be a crop.
    """

    entries: NDArray[np.float32]
    given: Sequence[str]
    pictures: Sequence[str]
    queries: NDArray[np.float32]
    labels: Sequence[str]


Method = Callable[[Memory, Task], Answers]  # the memory holds the entries


def decided(**how: Any) -> Method:
    """Return a method that asks the memory; ``how`` are arguments of classify."""
    return lambda memory, task: answers(
        memory.classify(vectors=task.queries, neighbors=0, **how), task.labels
    )


def answers(decisions: Sequence[Decision], labels: Sequence[str]) -> Answers:
    shares = np.array([[each.scores.get(label, 0.0) for label in labels] for each in decisions])
    shares /= shares.sum(axis=1, keepdims=True)
    return Answers(np.array([each.label for each in decisions]), shares)


def learned(make: Callable[[], Any]) -> Method:
    """Return a method that trains a classifier of scikit-learn, which ``make`` makes."""
    return lambda _, task: trained(make(), task)


def trained(classifier: Any, task: Task) -> Answers:
    classifier.fit(task.entries, np.array(task.given))
    found = classifier.predict(task.queries)
    if not hasattr(classifier, "predict_proba"):
        return Answers(found, None)
    shares = np.zeros((len(task.queries), len(task.labels)))
    columns = [task.labels.index(label) for label in classifier.classes_]
    shares[:, columns] = classifier.predict_proba(task.queries)
    return Answers(found, shares)


def tuned(memory: Memory, task: Task) -> Answers:
    operation = memory.tune(group_by="picture", apply=True).operation
    found = decided()(memory, task)
    memory.undo(operation)
    return found


means = partial(decided, head="means")
discriminants = partial(decided, head="discriminants")

DECISIONS: Mapping[str, Method] = {
    "default": decided(),
    "tuned": tuned,
    "votes, balance ½": decided(balance=0.5),
    "votes, balance 1": decided(balance=1.0),
    "means": means(blend=1.0),
    "means, balance 1": means(blend=1.0, balance=1.0),
    "means and votes": means(),
    "means and votes, balance 1": means(balance=1.0),
    "0.3 of means and votes, balance 1": means(blend=0.3, balance=1.0),
    # Those of one ridge together, for a head is fitted once.
    "discriminants": discriminants(blend=1.0),
    "discriminants, balance 1": discriminants(blend=1.0, balance=1.0),
    "discriminants and votes": discriminants(),
    "discriminants and votes, balance 1": discriminants(balance=1.0),
    "discriminants, ridge 10, balance 1": discriminants(blend=1.0, ridge=10.0, balance=1.0),
    "discriminants, ridge 10, and votes, balance 1": discriminants(ridge=10.0, balance=1.0),
    "discriminants, ridge 0.1, balance 1": discriminants(blend=1.0, ridge=0.1, balance=1.0),
}
METHODS = {**DECISIONS, **{name: learned(make) for name, make in CLASSIFIERS.items()}}
CHOICE = {name: learned(make) for name, make in CANDIDATES.items()}


@dataclass(frozen=True, slots=True)
class Configuration:
    """Pictures, an embedder, and whether its vectors are made ``hard``, of FEW dimensions."""

    pictures: str
    embedder: str
    hard: bool = False

    def __str__(self) -> str:
        network = self.embedder.rpartition("-")[2]
        return f"{self.pictures}, {network}" + (f", {FEW} dimensions" if self.hard else "")


LITE0, LITE1, LITE2 = "efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"
BOTH, HARD = Configuration("both", LITE0), Configuration("both", LITE0, hard=True)
PARTS = (  # one after the other, each for all seeds
    (Configuration("natural16", LITE0), Configuration("caltech20", LITE0), BOTH, HARD),
    (Configuration("both", LITE1), Configuration("both", LITE2)),
)
NAMES = [str(each) for part in PARTS for each in part]


def most_alike(vectors: Vectors, of_label: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Map each label to the one whose mean vector, of whole pictures, has the highest cosine."""
    labels = list(of_label)
    whole = [[splits.Item(path, 0, label) for path in of_label[label]] for label in labels]
    found = np.array([vectors.of_items(each).mean(axis=0, dtype=np.float64) for each in whole])
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    cosines = found @ found.T
    np.fill_diagonal(cosines, -np.inf)
    return {label: labels[at] for label, at in zip(labels, cosines.argmax(axis=1), strict=True)}


class Comparison:
    """All splits of the pictures below ``data``, asked of memories of a server."""

    def __init__(self, client: Client, data: Path, work: Path, csv: Path) -> None:
        self.client, self.data, self.work, self.csv = client, data, work, csv
        self.done = {(row.cell, row.seed, row.method) for row in read(csv)}

    def vectors(self, configuration: Configuration) -> Vectors:
        found = embedded(self.client, configuration.embedder, self.data, self.work)
        return found.reduced(FEW) if configuration.hard else found

    def run(
        self, part: Sequence[Configuration], seeds: Sequence[int], methods: Mapping[str, Method]
    ) -> None:
        """Append a row for each cell, seed and method that the CSV lacks."""
        known = {each: self.vectors(each) for each in part}
        for seed, configuration, values in product(seeds, part, splits.cells()):
            cell = Cell(str(configuration), *values)
            missing = {
                name: method
                for name, method in methods.items()
                if (cell, seed, name) not in self.done
            }
            if missing:
                self.ask(configuration.pictures, known[configuration], cell, seed, missing)

    def ask(
        self,
        pictures: str,
        vectors: Vectors,
        cell: Cell,
        seed: int,
        methods: Mapping[str, Method],
    ) -> None:
        of_label = splits.pictures(self.data, pictures)
        split = splits.split(
            of_label,
            seed,
            per_label=cell.per_label,
            ratio=cell.ratio,
            noise=cell.noise,
            share=cell.share,
            nearest=most_alike(vectors, of_label),
        )
        task = Task(
            vectors.of_items(split.entries),
            split.given,
            [item.picture for item in split.entries],
            vectors.of_items(split.queries),
            list(of_label),
        )
        right = np.array([item.label for item in split.queries])
        for method, found in self.answered(task, methods):
            row = judged(cell, seed, method, found, right, task.labels, split.rare)
            append(self.csv, [row])
            print(f"{seed} {cell} {method}: {row.accuracy:.3f}", flush=True)

    def answered(self, task: Task, methods: Mapping[str, Method]) -> Iterator[tuple[str, Answers]]:
        memory = self.client.create_memory("split", dimension=task.entries.shape[1])
        memory.insert(
            vectors=task.entries,
            labels=task.given,
            metadata=[{"picture": picture} for picture in task.pictures],
        )
        for name, method in methods.items():
            yield name, method(memory, task)
        self.client.delete_memory("split")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path("benchmark-runs"))
    parser.add_argument("--csv", type=Path, help="default: WORK/compare.csv, or WORK/choice.csv")
    parser.add_argument(
        "--choice",
        action="store_true",
        help="the classifiers among which those of the comparison were chosen, on other splits",
    )
    parser.add_argument("--methods", choices=METHODS, nargs="+", help="these; default: all")
    parser.add_argument("--only", choices=NAMES, nargs="+", help="of these alone; default: of all")
    arguments = parser.parse_args()
    csv = arguments.csv or arguments.work / ("choice.csv" if arguments.choice else "compare.csv")
    with own_client() as client:
        comparison = Comparison(client, arguments.data, arguments.work, csv)
        if arguments.choice:
            comparison.run((BOTH, HARD), DEVELOPMENT_SEEDS, CHOICE)
        else:
            for part in PARTS:
                wanted = [each for each in part if str(each) in (arguments.only or NAMES)]
                methods = {name: METHODS[name] for name in arguments.methods or METHODS}
                comparison.run(wanted, splits.SEEDS, methods)


if __name__ == "__main__":
    main()
