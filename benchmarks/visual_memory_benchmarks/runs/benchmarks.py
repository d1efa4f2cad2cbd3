"""The table of benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from types import MappingProxyType

from visual_memory_benchmarks.distortions.registry import DISTORTIONS
from visual_memory_benchmarks.errors import UnknownBenchmark
from visual_memory_benchmarks.runs.distorted import distorted
from visual_memory_benchmarks.runs.task import Task
from visual_memory_benchmarks.runs.tasks import TaskInputs, classes, folder, natural, people
from visual_memory_benchmarks.stimuli import layouts
from visual_memory_benchmarks.trials.datasets import DATASETS

DISTORTED = "distortion:"


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark; ``task`` makes its questions, or raises a BenchmarkRefusal."""

    name: str
    summary: str
    task: Callable[[TaskInputs], Task]


def _table() -> Mapping[str, Benchmark]:
    found = [
        Benchmark(
            name,
            f"of people and networks; {dataset.kind}, {len(dataset.conditions)} "
            f"condition{'s' * (len(dataset.conditions) > 1)}",
            partial(people, dataset),
        )
        for name, dataset in DATASETS.items()
    ]
    found += [
        Benchmark("natural", "the memory's own pictures, each against the others", natural),
        Benchmark("folder", "any folder per class: accuracy per label, confusion", folder),
    ]
    found += [
        Benchmark(name, summary, partial(classes, name, lay))
        for name, summary, lay in (
            ("imagenet-a", "natural adversarial examples, 200 classes", layouts.by_category),
            ("imagenet-r", "renditions, 200 classes", layouts.by_category),
            ("imagenet-sketch", "sketches, 1000 classes", layouts.by_category),
            ("imagenet-v2", "a new test set, 1000 class indices", layouts.by_category),
            ("imagenet-c", "corruptions at five severities", layouts.by_condition),
            ("laion-c", "six distortions at five intensities", layouts.by_condition),
            ("ninco", "classes that no memory of ImageNet has: distances", layouts.by_category),
            ("inaturalist", "species", layouts.by_category),
        )
    ]
    found += [
        Benchmark(
            f"{DISTORTED}{name}",
            f"own pictures, {distortion.family}, {len(distortion.levels)} levels",
            partial(distorted, name, distortion),
        )
        for name, distortion in DISTORTIONS.items()
    ]
    return MappingProxyType({each.name: each for each in found})


BENCHMARKS = _table()


def choose(names: Iterable[str]) -> list[Benchmark]:
    """Return the benchmarks of these names or patterns, such as ``distortion:*``, each once.

    Raises UnknownBenchmark.
    """
    chosen: dict[str, Benchmark] = {}
    for name in names:
        found = {key: each for key, each in BENCHMARKS.items() if fnmatchcase(key, name)}
        if not found:
            raise UnknownBenchmark(
                f"No benchmark is called {name}; visual-memory-bench list shows all."
            )
        chosen |= found
    return list(chosen.values())
