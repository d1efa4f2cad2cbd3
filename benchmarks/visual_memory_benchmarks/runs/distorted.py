"""Tasks of pictures distorted in memory, without files in between."""

from __future__ import annotations

from types import MappingProxyType

from visual_memory_benchmarks.distortions.bank import Bank
from visual_memory_benchmarks.distortions.distortion import Distortion, Materials
from visual_memory_benchmarks.distortions.geirhos import mean_amplitudes
from visual_memory_benchmarks.distortions.picture import Picture, framed
from visual_memory_benchmarks.distortions.registry import distort
from visual_memory_benchmarks.errors import MissingData
from visual_memory_benchmarks.runs.task import Question, Task
from visual_memory_benchmarks.runs.tasks import (
    BANK,
    TaskInputs,
    clean_pictures,
    numbered,
    with_labels,
)
from visual_memory_benchmarks.stimuli import stimuli
from visual_memory_benchmarks.stimuli.stimuli import StimulusSet, decode
from visual_memory_benchmarks.trials.datasets import Dataset

CLEAN = "clean"
PEERS = MappingProxyType(
    {
        "people": "Curves over levels may stand beside those of people, single pictures may not: "
        "they saw others.",
        "published rows": "May stand beside published rows where pictures and labels are the same.",
        "nothing": "Made from other materials than the published ones: compare it with its own "
        "kind only.",
    }
)


def distorted(name: str, distortion: Distortion, at: TaskInputs) -> Task:
    """Make a task of the pictures, undistorted and then under each level of a distortion.

    Raises MissingData, BadPicture.
    """
    found = clean_pictures(at)
    data = {found.name: found.sha256}
    materials = Materials()
    if distortion.needs == "amplitudes":
        pictures = (framed(decode(found, each)) for each in found.stimuli)
        materials = Materials(amplitudes=mean_amplitudes(pictures))
    if distortion.needs == "bank":
        bank = _bank(at)
        data["bank"] = bank.sha256
        materials = Materials(Bank(decode(bank, each) for each in bank.stimuli))
    conditions = (CLEAN, *distortion.levels)
    stem = f"distortion-{name}"
    dataset = Dataset(stem, "parametric", conditions, (CLEAN,), with_labels(found, at))
    pairs = [(condition, each) for condition in conditions for each in found.stimuli]

    def show(question: Question) -> Picture:
        picture = framed(decode(found, question.stimulus))
        if question.condition == CLEAN:
            return picture
        return distort(
            picture,
            name,
            question.condition,
            seed=at.seed,
            picture_id=question.stimulus.file,
            materials=materials,
        )

    note = PEERS[distortion.compares_with]
    return Task(dataset, data, numbered(stem, pairs), show, made=True, note=note)


def _bank(at: TaskInputs) -> StimulusSet:
    """Return the pictures of caltech20 that are not in the memory. Raises MissingData."""
    folder = at.data / BANK
    if not folder.is_dir():
        problem = f"the distortion takes parts of other pictures, and there is no folder {folder}"
        raise MissingData(BANK, problem, "Any folder of pictures per class will do.")
    found = stimuli.load(BANK, folder).where(lambda each: not at.remembered.same(each))
    if not found.stimuli:
        raise MissingData(BANK, f"all pictures of {folder} are in the memory itself")
    return found
