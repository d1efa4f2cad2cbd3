"""No call waits for a loop that is compiled, once a server has begun."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from visual_memory_index import Entry, Memory, Query, ScannedIndexes, parse, unit_rows
from visual_memory_index.codes import kernels
from visual_memory_index.records.filter import Filter
from visual_memory_index.rows import row_kernels
from visual_memory_index.scan.indexes import compile_loops
from visual_memory_index.scan.vectors import Originals
from visual_memory_index.store.store import new_identity

COUNT, D = 300, 12
LOOPS = {
    f"{module.__name__}.{name}": loop
    for module in (kernels, row_kernels)
    for name, loop in vars(module).items()
    if hasattr(loop, "signatures")
}


def compiled_later(path: Path, originals: Originals) -> list[str]:
    """Have a memory do all that it does; return the loops that were compiled for that."""
    indexes = ScannedIndexes(2, originals)
    compile_loops()
    before = {name: [*loop.signatures] for name, loop in LOOPS.items()}
    vectors = unit_rows(np.random.default_rng(0).standard_normal((COUNT, D)).astype(np.float32))
    memory = Memory.create(path, new_identity("m", D, None), indexes=indexes)
    memory.insert(
        [Entry(f"{at:03}", "cat", metadata={"at": f"{at}"}) for at in range(COUNT)], vectors
    )
    with closing(memory):
        live(memory, vectors)
    with closing(Memory.open(path, indexes=indexes)) as opened:
        live(opened, vectors)
    return [name for name, loop in LOOPS.items() if [*loop.signatures] != before[name]]


def parsed(text: str) -> Filter:
    filter = parse(text)
    assert filter is not None
    return filter


def live(memory: Memory, vectors: NDArray[np.float32]) -> None:
    ids, operations = memory.ids(), memory.operations
    for n in (1, 3, COUNT):
        for k in (1, 5, COUNT):
            memory.nearest([Query(vectors[:n], k, sizes=True)])
            memory.nearest([Query(vectors[:n], k, parsed('metadata.at < "2"'))])
            memory.nearest([Query(vectors[:n], k, parsed('label != "cat"'), ids[:5])])
    pruned = operations.begin("prune").operation.name
    operations.prune(ids[:200], operation=pruned, result=str)
    memory.nearest([Query(vectors[:1], 5)])
    operations.undo(pruned)
    relabelled = operations.relabel(dict.fromkeys(ids[:200], "dog"), result=str).name
    operations.undo(relabelled)
    memory.misleading_counts(3)
    memory.ranking(vectors[:1])
    memory.purge(parsed('metadata.at < "12"'))
    memory.insert([Entry(ids[9], "owl")], vectors[9:10], replace_existing=True)
    memory.check()


@pytest.mark.parametrize("originals", ["ram", "disk"])
def test_no_loop_is_compiled_after_the_start(tmp_path: Path, originals: Originals) -> None:
    """In a process of its own, where no other test had a loop compiled."""
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawned) as process:
        assert process.submit(compiled_later, tmp_path / "m.sqlite", originals).result() == []
