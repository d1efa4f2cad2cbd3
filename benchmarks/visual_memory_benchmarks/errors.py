"""Refusals of the benchmarks, each a sentence with the way out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from visual_memory.terminal.refused import Refused, listed


class BenchmarkRefusal(Refused):
    """The base of all refusals of this package; its message is a sentence to act on."""


class BadTrials(BenchmarkRefusal):
    """A row or header of a table of trials that cannot be used; ``place`` says which."""

    def __init__(self, place: str, problem: str, remedy: str) -> None:
        super().__init__(f"{place}: {problem}; {remedy}.")
        self.place = place


class BadFile(BenchmarkRefusal):
    """A file of another format than expected."""

    def __init__(self, path: Path, problem: str, remedy: str) -> None:
        super().__init__(f"{path}: {problem}; {remedy}.")


class NoTrials(BenchmarkRefusal):
    """Folders without a table of trials of any supported dataset."""


class UnmatchedImages(BenchmarkRefusal):
    """Decision makers that did not answer the same pictures, and so cannot be compared."""

    def __init__(
        self, dataset: str, condition: str, maker: str, *, missing: Sequence[str], remedy: str
    ) -> None:
        super().__init__(
            f"{dataset}, condition {condition}: {maker} has no answer to {listed(missing)}, which "
            f"others answered; {remedy}."
        )
        self.missing = tuple(missing)


class MissingConditions(BenchmarkRefusal):
    """A decision maker without trials in conditions that scores are averaged over."""


class UnmappedLabels(BenchmarkRefusal):
    """Labels of a memory that map to none of the benchmark's categories."""

    def __init__(self, labels: Sequence[str], categories: Sequence[str]) -> None:
        super().__init__(
            f"These labels are none of the categories: {listed(labels)}. Give with --mapping a CSV "
            f"file with the columns label,category that maps each to one of "
            f"{', '.join(categories)}, or to na, which leaves its votes out."
        )
        self.labels = tuple(labels)


class NothingToAnswer(BenchmarkRefusal):
    """A task in which every picture shows a class that the memory has no label for."""


class UnnumberedLabels(BenchmarkRefusal):
    """Labels without a number in a neighbour-information file's classes."""


class MissingData(BenchmarkRefusal):
    """A dataset that is missing or incomplete; ``remedy`` says how to get it."""

    def __init__(self, name: str, problem: str, remedy: str = "") -> None:
        super().__init__(f"The set {name} cannot be used: {problem}.{remedy and f' {remedy}'}")


class BadPicture(BenchmarkRefusal):
    """A picture that cannot be read or decoded."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"The picture {name} {problem}.")


class CannotDistort(BenchmarkRefusal):
    """An unknown distortion or level, or a picture or materials that do not fit."""


class CannotEmbed(BenchmarkRefusal):
    """An embedder that is missing, or whose memory's name is taken."""


class CannotSplit(BenchmarkRefusal):
    """A study of edits that needs more pictures of a category to add than there are."""


class UnknownBenchmark(BenchmarkRefusal):
    """A name or pattern that no benchmark matches."""


class OtherRun(BenchmarkRefusal):
    """A run whose files are of another run, or are being written by another process."""

    def __init__(self, path: Path, differences: Sequence[str]) -> None:
        super().__init__(
            f"{path} is of another run ({'; '.join(differences)}): choose another --out or "
            "--maker, or remove what lies there."
        )


class MemoryChanged(BenchmarkRefusal):
    """A memory that was edited since the run began."""

    def __init__(self, memory: str, before: str, after: str, progress: str) -> None:
        super().__init__(
            f"The memory {memory} was edited since the run began (its digest was {before[:12]}… "
            f"and is {after[:12]}…), and the run stops: {progress}. Begin anew with another --out, "
            "or undo the edit and repeat the command."
        )


class RunStopped(BenchmarkRefusal):
    """A run whose server became unreachable; its answers are kept."""


class NotRemembered(BenchmarkRefusal):
    """Pictures that a memory does not hold, in a benchmark of the memory's own pictures."""


class UnknownPictures(BenchmarkRefusal):
    """Ids in a file of triplets for which a memory has no entries."""


class BadDownload(BenchmarkRefusal):
    """A dataset that could not be downloaded, or differs from the published one."""


class UnknownExperiment(BenchmarkRefusal):
    """A name or pattern that no experiment matches."""
