from __future__ import annotations

import hashlib
from types import MappingProxyType

from tests.benchmarks.conftest import Small

from visual_memory_benchmarks.stimuli.remembered import Remembered
from visual_memory_benchmarks.stimuli.stimuli import Stimulus


def stimulus(file: str, data: bytes) -> Stimulus:
    return Stimulus(file, "dog", hashlib.sha256(data).hexdigest(), MappingProxyType({}))


def test_a_picture_is_known_by_its_bytes_whatever_it_is_called(small: Small) -> None:
    path = sorted((small.data / "natural16/dog").iterdir())[0]
    small.memory.insert(images=[path], labels=["cat"], ids=["again"])

    found = Remembered.of(small.memory)

    assert found.same(stimulus("x", path.read_bytes())) == ("again", f"dog/{path.name}")
    assert found.same(stimulus(f"dog/{path.name}", b"")) == ()
    assert len(found.labels) == 16


def test_an_own_picture_is_known_by_its_path_too(small: Small) -> None:
    path = sorted((small.data / "natural16/dog").iterdir())[0]
    found = Remembered.of(small.memory)

    assert found.same(stimulus(f"dog/{path.name}", b""), own=True) == (f"dog/{path.name}",)
    assert found.same(stimulus(f"dog/{path.name}", path.read_bytes()), own=True) == (
        f"dog/{path.name}",
    )
    assert found.same(stimulus("dog/none.jpg", b""), own=True) == ()
