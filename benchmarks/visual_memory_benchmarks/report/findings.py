"""The inputs of the page: the results of a folder, and the tables of people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from visual_memory.terminal.refused import listed
from visual_memory_benchmarks.errors import BadFile, MissingData
from visual_memory_benchmarks.metrics.confusion import confusion
from visual_memory_benchmarks.metrics.summary import summarise
from visual_memory_benchmarks.trials.datasets import DATASETS
from visual_memory_benchmarks.trials.panel import Panel, panels
from visual_memory_benchmarks.trials.trial_files import find, read
from visual_memory_benchmarks.trials.trials import is_person

Json: TypeAlias = dict[str, Any]
Row: TypeAlias = Mapping[str, Any]
Rows: TypeAlias = Sequence[Row]

RUNS = "runs"
"""Not an experiment: the trials of memories in folders named as their sets are."""
EXPERIMENTS = "experiments"
RECORD = ".record.json"
PEOPLE, NETWORKS = "human", "model"


@dataclass(frozen=True, eq=False)
class Findings:
    """The results to report: ``results`` of experiments by name, ``records`` of runs.

    ``folder`` is the folder given to ``visual-memory-bench`` as --out, ``people`` the folder with
    the tables of people and networks.
    """

    folder: Path
    people: Path
    results: Mapping[str, Json]
    records: Sequence[Json]

    @classmethod
    def read(cls, folder: Path, people: Path) -> Findings:
        """Read a folder of results, and one with tables of people and networks. Raises BadFile."""
        written = sorted((folder / EXPERIMENTS).glob("*.json"))
        results = {path.stem: _json(path) for path in written if not path.name.endswith(RECORD)}
        records = [
            _json(path) for name in DATASETS for path in sorted((folder / name).glob(f"*{RECORD}"))
        ]
        return cls(folder, people, results, records)

    def has(self, name: str) -> bool:
        """Return True if there are results of this experiment or, for ``runs``, of any run."""
        return bool(self.records) if name == RUNS else name in self.results

    def tables(self, name: str) -> Mapping[str, Rows]:
        """Return the tables of the result of the experiment ``name``, by their names."""
        tables: Mapping[str, Rows] = self.results[name]["tables"]
        return tables

    def parameter(self, name: str, parameter: str) -> Any:
        """Return the value of a parameter with which the experiment ``name`` was run."""
        return self.results[name]["parameters"][parameter]

    @cached_property
    def summary(self) -> Json:
        """Return accuracy, shape bias and error consistency of people, networks and memories.

        All answered the same pictures. Raises MissingData.
        """
        folders = [self.people / PEOPLE, self.people / NETWORKS]
        if lacking := [name for name in DATASETS if not (folders[0] / name).is_dir()]:
            raise MissingData(
                self.people.name,
                f"it has no tables in {folders[0]} for {listed(lacking)}, with which the page "
                "compares",
                "Name the folder of data that has them with --data DIR.",
            )
        if self.records:
            folders += [path for name in DATASETS if (path := self.folder / name).is_dir()]
        return summarise(*folders)

    @cached_property
    def memories(self) -> list[str]:
        """Return the names of the decision makers of the runs, sorted; each is a memory."""
        return sorted({record["maker"] for record in self.records}, key=_natural)

    def sample(self, name: str) -> str:
        """Describe how many pictures an experiment uses, as ``10 seeds of 800 pictures``."""
        (first, *_) = self.results[name]["data"]
        return f"{self.parameter(name, 'seeds')} seeds of {self.size(first)}"

    def size(self, name: str) -> str:
        """Describe the size of the picture set ``name``, as ``800 pictures``.

        ``all pictures`` if there are no results of the experiment on embedders.
        """
        rows = self.tables("embedders")["accuracy"] if self.has("embedders") else ()
        counts = {row["set"]: f"{row['pictures']:,} pictures" for row in rows}
        return counts.get(name, "all pictures")

    def of_people(self, dataset: str) -> Json:
        """Return the summary of people's answers to one set."""
        found: Json = self.summary["datasets"][dataset]["humans"]
        return found

    def confusions(self, dataset: str) -> Mapping[str, NDArray[np.int64]]:
        """Return people's pooled confusions by condition: counts (shown, answered), ``na`` last."""
        paths = find([self.people / PEOPLE])[dataset]
        return {each.condition: _pooled(each) for each in panels(read(paths, DATASETS[dataset]))}


def _pooled(panel: Panel) -> NDArray[np.int64]:
    people = [maker for maker in panel.makers if is_person(maker)]
    counts: NDArray[np.int64] = confusion(panel.of(people)).sum(axis=0)
    return counts


def _natural(name: str) -> tuple[str, int]:
    """Return a sort key by which k = 10 comes after k = 1 and before k = 50."""
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :] or 0)


def _json(path: Path) -> Json:
    try:
        found: Json = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise BadFile(path, f"it is no JSON ({error})", "run what makes it again") from None
    return found
