"""What an unlearning certifies: memory that cannot be searched is named, and no lack spoils it."""

from __future__ import annotations

import json
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from tests.index.conformance.implementations import ElsewhereIndexes

from visual_memory import Certificate
from visual_memory_index import WITHOUT_ID, Entry, Findings, IndexFactory
from visual_memory_service.config import FILES, FILES_AND_MEMORY, Settings
from visual_memory_service.erasure import unlearn
from visual_memory_service.erasure.signing_keys import SigningKeys
from visual_memory_service.erasure.statement import UNSEARCHABLE
from visual_memory_service.erasure.unlearn import ALL_FILES, PROCESS, UnlearningWork, certificate_of
from visual_memory_service.runtime.memories import Memories
from visual_memory_service.runtime.operations import Operations


def certified(
    folder: Path,
    indexes: IndexFactory | None = None,
    erasure: Literal["files", "files+memory"] = FILES,
) -> str:
    """Unlearn the only entry of a memory, and return the certificate."""
    folder.mkdir()
    settings = Settings(folder, erasure=erasure)
    memories = Memories(settings, lambda *change: None, indexes=indexes)
    closed = Future[None]()
    closed.set_result(None)
    with closing(memories), closing(Operations()) as operations:
        keys = SigningKeys(folder)
        unlearning = UnlearningWork(memories, operations, keys, lambda: closed, settings)
        memories.create("m", embedder=None, dimension=2, store_images=False, request=WITHOUT_ID)
        served = memories.use("m")
        served.memory.insert([Entry("a", "b")], np.eye(1, 2, dtype=np.float32))
        name = unlearning.begin(["a"], served, allow_missing=False, request=WITHOUT_ID).name
        while job := operations.job(name):
            job.ended.result()
        return certificate_of(served.memory, name)


def test_a_certificate_names_memory_that_cannot_be_searched(tmp_path: Path) -> None:
    certificate = json.loads(certified(tmp_path / "data", ElsewhereIndexes()))

    assert UNSEARCHABLE.format("the memory of GPU 0") in certificate["not_covered"]


@pytest.mark.parametrize("step", ["draft", "to_statement", "sign"])
def test_a_step_that_gets_no_memory_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    work, tried = getattr(unlearn, step), list[int]()

    def short(*given: Any, **more: Any) -> Any:
        tried.append(1)
        if len(tried) < 3:
            raise MemoryError
        return work(*given, **more)

    monkeypatch.setattr(unlearn, step, short)
    certificate = Certificate.of(certified(tmp_path / "data"))

    assert len(tried) == 3
    assert certificate.holds("a")
    assert [each.where for each in certificate.searched] == [ALL_FILES]


@pytest.mark.parametrize("error", [MemoryError(), OSError("refused")])
def test_what_is_certified_stays_so_where_the_last_overwriting_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(memories: Memories) -> None:
        raise error

    searched = Findings(9, frozenset()), frozenset[str]()
    monkeypatch.setattr(unlearn, "erase_memory", lambda *given: searched)
    monkeypatch.setattr(unlearn, "overwrite_unused", fail)
    certificate = Certificate.of(certified(tmp_path / "data", erasure=FILES_AND_MEMORY))

    assert [each.where for each in certificate.searched] == [ALL_FILES, PROCESS]
