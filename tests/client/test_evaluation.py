"""The accuracy of a memory on labelled pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from tests.conftest import Server, to_picture

import visual_memory
from visual_memory import InvalidArgument, Memory
from visual_memory.evaluation import evaluate
from visual_memory.sources import Item


@pytest.fixture
def memory(server: Server) -> Iterator[Memory]:
    with visual_memory.connect(server.address) as client:
        memory = client.create_memory("evaluated", embedder="efficientnet-lite0")
        memory.insert([to_picture(1), to_picture(2)], labels=["a", "b"])
        yield memory
        client.delete_memory("evaluated")


def test_right_and_wrong_answers_are_counted(memory: Memory) -> None:
    items = [
        Item("x", to_picture(1), "a"),
        Item("y", to_picture(2), "a"),
        Item("z", to_picture(2), "b"),
        Item("broken", b"nothing", "b"),
    ]
    with pytest.raises(InvalidArgument, match=r"^broken is not a whole"):
        evaluate(memory, items, k=1)
    reports: list[tuple[int, int]] = []
    found = evaluate(
        memory, items, skip_bad=True, k=1, progress=lambda *report: reports.append(report)
    )
    assert found.answers == Counter({("a", "a"): 1, ("a", "b"): 1, ("b", "b"): 1})
    assert found.wrong == {"y": ("a", "b", 1.0)}
    assert list(found.bad) == ["broken"]
    assert (found.accuracy, found.macro_accuracy) == (2 / 3, 0.75)
    assert found.by_label() == {"a": (2, 1), "b": (1, 1)}
    assert found.confusions() == [("a", "b", 1)]
    assert "2 of 3 right" in found._repr_html_()
    assert reports == [(4, 4)]


def test_without_pictures_there_is_nothing_to_say(memory: Memory) -> None:
    with pytest.raises(InvalidArgument, match="have no picture that can be classified"):
        evaluate(memory, [])
