"""Memory that cannot be searched, such as a GPU's, is named in certificates."""

from __future__ import annotations

import json
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path

import numpy as np
from tests.index.conformance.implementations import ElsewhereIndexes

from visual_memory_index import WITHOUT_ID, Entry
from visual_memory_service.config import FILES, Settings
from visual_memory_service.erasure.signing_keys import SigningKeys
from visual_memory_service.erasure.statement import UNSEARCHABLE
from visual_memory_service.erasure.unlearn import UnlearningWork, certificate_of
from visual_memory_service.runtime.memories import Memories
from visual_memory_service.runtime.operations import Operations


def test_a_certificate_names_memory_that_cannot_be_searched(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    indexes = ElsewhereIndexes()
    settings = Settings(tmp_path / "data", erasure=FILES)
    memories = Memories(settings, lambda *change: None, indexes=indexes)
    operations, closed = Operations(), Future[None]()
    closed.set_result(None)
    with closing(memories):
        keys = SigningKeys(tmp_path / "data")
        unlearning = UnlearningWork(memories, operations, keys, lambda: closed, settings)
        served = memories.create(
            "m", embedder=None, dimension=2, store_images=False, request=WITHOUT_ID
        )
        served.memory.insert([Entry("a", "b")], np.eye(1, 2, dtype=np.float32))

        name = unlearning.begin(["a"], served, allow_missing=False, request=WITHOUT_ID).name
        while job := operations.job(name):
            job.ended.result()

        certificate = json.loads(certificate_of(served.memory, name))
        operations.close()

    assert UNSEARCHABLE.format("the memory of GPU 0") in certificate["not_covered"]
