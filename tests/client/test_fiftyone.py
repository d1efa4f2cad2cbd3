"""Datasets of FiftyOne, written and read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import Server, to_picture

import visual_memory
from visual_memory import InvalidArgument, Memory, fiftyone, sources

HOSTILE = "../a\n/b"


@pytest.fixture
def memory(server: Server) -> Iterator[Memory]:
    with visual_memory.connect(server.address) as client:
        memory = client.create_memory("shown", embedder="efficientnet-lite0", store_images=True)
        pictures = [to_picture(n % 2) for n in range(12)]
        labels = ["even", "odd"] * 6
        labels[3] = "even"  # a wrong one
        memory.insert(pictures, labels=labels, ids=[f"{HOSTILE}{n}" for n in range(12)])
        yield memory
        client.delete_memory("shown")


def labels(folder: Path) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = json.loads((folder / "labels.json").read_text())["labels"]
    return found


def test_decisions_are_written_beside_the_files(memory: Memory, tmp_path: Path) -> None:
    picture = tmp_path / "one.png"
    picture.write_bytes(to_picture(0))
    decisions = memory.classify([picture], k=3)
    assert fiftyone.write_decisions(tmp_path / "set", [picture], decisions) == 1
    (said,) = labels(tmp_path / "set").items()
    assert said[0] == str(picture)
    assert said[1]["label"] == "even"
    with pytest.raises(InvalidArgument, match="is there already"):
        fiftyone.write_decisions(tmp_path / "set", [picture], decisions)
    with pytest.raises(InvalidArgument, match="are 1, but the pictures are 0"):
        fiftyone.write_decisions(tmp_path / "other", [], decisions)


def test_suspects_are_written_with_their_pictures_and_read_again(
    memory: Memory, tmp_path: Path
) -> None:
    found = memory.assess(k=3)
    assert f"{HOSTILE}3" in [each.id for each in found.suspects]
    count = fiftyone.write_suspects(tmp_path / "set", memory, found)
    assert count == len(found.suspects)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert len(list((tmp_path / "set" / "data").iterdir())) == count

    items = list(fiftyone.read(tmp_path / "set"))
    assert {item.metadata["entry"]: item.label for item in items}[f"{HOSTILE}3"] == "even"
    assert sources.insert(memory, items).inserted == count


def test_a_label_without_a_file_is_refused(tmp_path: Path) -> None:
    fiftyone.write(tmp_path / "set", {"a": {"label": "x"}}, {})
    with pytest.raises(InvalidArgument, match="has a label of a, but no file"):
        list(fiftyone.read(tmp_path / "set"))
