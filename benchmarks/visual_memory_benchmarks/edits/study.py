"""The whole study: every edit of every seed, each compared with its control."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

import visual_memory
from visual_memory_benchmarks.edits.analysis import analyse
from visual_memory_benchmarks.edits.edit import Edit
from visual_memory_benchmarks.edits.material import Material
from visual_memory_benchmarks.edits.protocol import Protocol
from visual_memory_benchmarks.edits.records import Records, States
from visual_memory_benchmarks.edits.split import Split, split
from visual_memory_benchmarks.edits.states import VOTING, edited, forget, remembered, visit
from visual_memory_benchmarks.files.file_lock import lock
from visual_memory_benchmarks.runs.cleanup import cleanup

Progress: TypeAlias = Callable[[str], None]


def run(
    client: visual_memory.Client,
    material: Material,
    protocol: Protocol,
    path: Path,
    progress: Progress = lambda text: None,
) -> dict[str, Any]:
    """Run the study and return its result; edits recorded in ``path`` are not measured again.

    Its memories are deleted at the end. Records stay valid for more seeds, kinds, resamples, or
    doses (unless the largest addition grows), but not for other material. Raises CannotSplit,
    OtherRun, MemoryChanged, UnmatchedImages.
    """
    splits = [split(material, seed, protocol.dose_max) for seed in range(protocol.seeds)]
    study = {
        "material_sha256": material.sha256,
        "sources": dict(material.sources),
        "server_version": client.server_info().version,
        "ks": list(protocol.ks),
        "voting": VOTING,
        "dose_max": protocol.dose_max,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    apart = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]
    with path.open("a") as file:
        lock(file, path)
        records = Records(path, study)
        for dealt in splits:
            collect(client, f"edits-{apart}-{dealt.seed}", dealt, protocol, records, progress)
    progress("statistics")
    versions = {
        "visual_memory": visual_memory.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
    result = analyse(material.people, splits, records.states, protocol)
    return {"study": study | {"versions": versions}} | result


def collect(
    client: visual_memory.Client,
    name: str,
    dealt: Split,
    protocol: Protocol,
    records: Records,
    progress: Progress,
) -> None:
    """Measure the edits of one seed that ``records`` lacks, in a memory called ``name``."""
    memory = None

    def drop() -> None:
        forget(client, edited(name))
        forget(client, name)

    with cleanup(drop):
        for edit in _planned(protocol, dealt.seed, records.states):
            if (dealt.seed, edit) not in records.states:
                progress(f"seed {dealt.seed + 1} of {protocol.seeds}: {edit.name}")
                memory = memory or remembered(client, name, dealt)
                records.add(visit(client, memory, edit, dealt, protocol.ks))


def _planned(protocol: Protocol, seed: int, states: States) -> Iterator[Edit]:
    """Yield the first edits, then the controls whose sizes depend on the edits recorded."""
    yield from protocol.first
    yield from protocol.all(seed, states)[len(protocol.first) :]
