"""Refusals of the benchmarks, each a sentence with the way out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from visual_memory.terminal.refused import Refused, listed


class BenchmarkRefusal(Refused):
    """The base of all refusals of this package; its message is a sentence to act on."""


class BadTrials(BenchmarkRefusal):
    """A row or header of a table of trials that cannot be used; ``place`` says which."""

    def __init__(self, place: str, problem: str, remedy: str) -> None:
        super().__init__(f"{place}: {problem}; {remedy}.")
        self.place, self.problem = place, problem


class BadFile(BenchmarkRefusal):
    """A file of another format than expected."""

    def __init__(self, path: Path, problem: str, remedy: str) -> None:
        super().__init__(f"{path}: {problem}; {remedy}.")
        self.path, self.problem = path, problem


class NoTrials(BenchmarkRefusal):
    """Folders without a table of trials of any supported dataset."""

    def __init__(self, folders: Sequence[Path], choices: Iterable[str]) -> None:
        super().__init__(
            f"No table of trials (*.csv, *.csv.gz) lies in {', '.join(map(str, folders))}: a table "
            f"belongs into a folder that is named as its dataset is, one of {', '.join(choices)}."
        )


class UnmatchedImages(BenchmarkRefusal):
    """Decision makers that did not answer the same pictures, and so cannot be compared."""

    def __init__(
        self, dataset: str, condition: str, maker: str, *, missing: Sequence[str], remedy: str
    ) -> None:
        super().__init__(
            f"{dataset}, condition {condition}: {maker} has no answer to {listed(missing)}, which "
            f"others answered; {remedy}."
        )
        self.dataset, self.condition, self.maker = dataset, condition, maker
        self.missing = tuple(missing)


class MissingConditions(BenchmarkRefusal):
    """A decision maker without trials in conditions that scores are averaged over."""

    def __init__(self, dataset: str, maker: str, conditions: Sequence[str]) -> None:
        super().__init__(
            f"{dataset}: {maker} has no trials in the condition {listed(conditions)}, which the "
            "benchmark averages over; finish the run, or leave its table out."
        )
        self.dataset, self.maker, self.conditions = dataset, maker, tuple(conditions)


class UnmappedLabels(BenchmarkRefusal):
    """Labels of a memory that map to none of the benchmark's categories."""

    def __init__(self, labels: Sequence[str], categories: Sequence[str]) -> None:
        super().__init__(
            f"These labels are none of the categories: {listed(labels)}. Give with --mapping a CSV "
            f"file with the columns label,category that maps each to one of "
            f"{', '.join(categories)}."
        )
        self.labels = tuple(labels)


class NothingToAnswer(BenchmarkRefusal):
    """A task in which every picture shows a class that the memory has no label for."""

    def __init__(self, memory: str, labels: Iterable[str], categories: Iterable[str]) -> None:
        super().__init__(
            f"The memory {memory} can get none of the pictures right: they show "
            f"{listed(categories)}, and its labels are {listed(labels)}. Give the folder that has "
            "a folder for each label with --data, or say with --mapping FILE.csv what its labels "
            "stand for."
        )


class UnnumberedLabels(BenchmarkRefusal):
    """Labels without a number in a neighbour-information file's classes."""

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__(f"These labels have no class number: {listed(labels)}; give them one.")
        self.labels = tuple(labels)


class MissingData(BenchmarkRefusal):
    """A dataset that is missing or incomplete; ``remedy`` says how to get it."""

    def __init__(self, name: str, problem: str, remedy: str = "") -> None:
        super().__init__(f"The set {name} cannot be used: {problem}.{remedy and f' {remedy}'}")
        self.name, self.problem = name, problem


class BadPicture(BenchmarkRefusal):
    """A picture that cannot be read or decoded."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"The picture {name} {problem}.")
        self.name = name


class CannotDistort(BenchmarkRefusal):
    """An unknown distortion or level, or a picture or materials that do not fit."""


class CannotEmbed(BenchmarkRefusal):
    """An embedder that is missing, or whose memory's name is taken."""


class CannotSplit(BenchmarkRefusal):
    """A study of edits needs more pictures of a category to add than there are."""

    def __init__(self, kind: str, fewest: int, needed: int) -> None:
        super().__init__(
            f"Of one category only {fewest} pictures can be added as {kind}, where the largest "
            f"dose needs {needed}: give more pictures, or smaller doses."
        )


class UnknownBenchmark(BenchmarkRefusal):
    """A name or pattern that no benchmark matches."""

    def __init__(self, name: str) -> None:
        super().__init__(f"No benchmark is called {name}; visual-memory-bench list shows all.")
        self.name = name


class OtherRun(BenchmarkRefusal):
    """A run whose files are of another run, or are being written by another process."""

    def __init__(self, path: Path, differences: Sequence[str]) -> None:
        super().__init__(
            f"{path} is of another run ({'; '.join(differences)}): choose another --out or "
            "--maker, or remove what lies there."
        )
        self.path, self.differences = path, tuple(differences)


class MemoryChanged(BenchmarkRefusal):
    """A memory that was edited during the run, or since."""

    def __init__(self, memory: str, before: str, after: str, progress: str) -> None:
        super().__init__(
            f"The memory {memory} was edited during the run (its digest was {before[:12]}… and is "
            f"{after[:12]}…), and the run stops: {progress}. Begin anew with another --out, or "
            "undo the edit and repeat the command."
        )


class RunStopped(BenchmarkRefusal):
    """A run whose server became unreachable; its answers are kept."""


class NotRemembered(BenchmarkRefusal):
    """Pictures that a memory does not hold, in a benchmark of the memory's own pictures."""

    def __init__(self, memory: str, files: Sequence[str], folder: Path) -> None:
        super().__init__(
            f"The memory {memory} does not hold these pictures of {folder}, which it is to find "
            f"among its others: {listed(files)}. Insert the folder, or give the one it was made of."
        )


class UnknownPictures(BenchmarkRefusal):
    """Ids in a file of triplets for which a memory has no entries."""

    def __init__(self, memory: str, ids: Sequence[str]) -> None:
        super().__init__(
            f"The memory {memory} has no entries with these ids: {listed(ids)}. Name the pictures "
            "by the ids of their entries, such as cat/0.jpg."
        )
        self.ids = tuple(ids)


class BadDownload(BenchmarkRefusal):
    """A dataset that could not be downloaded, or differs from the published one."""


class UnknownExperiment(BenchmarkRefusal):
    """A name or pattern that no experiment matches."""

    def __init__(self, name: str, choices: Iterable[str]) -> None:
        super().__init__(f"No experiment is called {name}; choose all, or of {', '.join(choices)}.")
        self.name = name
