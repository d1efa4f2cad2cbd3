"""Labelled pictures from folders and tables, and their insertion."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from tests.conftest import Server, to_picture

import visual_memory
from visual_memory import Client, InvalidArgument, Memory, sources


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with visual_memory.connect(server.address) as client:
        yield client


@pytest.fixture
def memory(client: Client) -> Iterator[Memory]:
    yield client.create_memory("collected", embedder="efficientnet-lite0")
    client.delete_memory("collected")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, label in enumerate(("cat", "cat", "dog")):
        path = tmp_path / "pets" / label / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(to_picture(number))
    (tmp_path / "pets" / "readme.txt").write_text("no picture")
    return tmp_path / "pets"


def test_a_folder_is_inserted_once_and_goes_on(memory: Memory, folder: Path) -> None:
    reports: list[tuple[int, int]] = []
    done = sources.insert(
        memory, sources.folder(str(folder)), progress=lambda *report: reports.append(report)
    )
    assert done == sources.Inserted(3, 0, {}, {})
    assert reports == [(3, 3)]
    assert [(each.id, each.label) for each in memory] == [
        ("cat/0.png", "cat"),
        ("cat/1.png", "cat"),
        ("dog/2.png", "dog"),
    ]

    (folder / "dog" / "3.png").write_bytes(to_picture(3))
    memory.relabel({"cat/0.png": "lion"}, apply=True)
    again = sources.insert(memory, sources.folder(str(folder)))
    assert again == sources.Inserted(1, 3, {"cat/0.png": ("lion", "cat")}, {})


def test_a_folder_may_be_at_another_address(memory: Memory, folder: Path) -> None:
    there = fsspec.filesystem("memory")
    there.put(str(folder), "/bucket", recursive=True)
    done = sources.insert(memory, sources.folder("memory://bucket"))
    assert done.inserted == 3
    assert "dog/2.png" in memory


def test_a_table_has_labels_ids_and_metadata(memory: Memory, folder: Path) -> None:
    table = folder / "list.csv"
    rows = ["path,label,id,place", "cat/0.png,cat,tom,yard", f"file://{folder}/dog/2.png,dog,rex,"]
    table.write_text("\n".join(rows))
    assert sources.insert(memory, sources.table(str(table))).inserted == 2
    tom, rex = memory.get("tom"), memory.get("rex")
    assert (tom.label, tom.metadata) == ("cat", {"place": "yard"})
    assert (rex.label, rex.metadata) == ("dog", {})


@pytest.mark.parametrize(
    ("text", "wrong"),
    [("file,label\n1,2\n", "no column path"), ("path,label\na.png\n", "number of cells in line 2")],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path: Path, text: str, wrong: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(InvalidArgument, match=wrong):
        list(sources.table(str(tmp_path / "list.csv")))


def test_an_item_that_is_no_picture_is_named_and_can_be_skipped(
    memory: Memory, folder: Path
) -> None:
    (folder / "cat" / "broken.png").write_bytes(b"nothing")
    with pytest.raises(InvalidArgument, match=r"^cat/broken\.png is not a whole"):
        sources.insert(memory, sources.folder(str(folder)))

    done = sources.insert(memory, sources.folder(str(folder)), skip_bad=True)
    assert done.inserted == 3
    assert list(done.bad) == ["cat/broken.png"]


def test_more_than_a_batch_is_inserted(client: Client) -> None:
    memory = client.create_memory("many", embedder="efficientnet-lite0")
    count = sources.BATCH + 3
    items = [sources.Item(f"{n:04}", to_picture(n % 7), f"{n % 7}") for n in range(count)]
    reports: list[tuple[int, int]] = []
    done = sources.insert(memory, items, progress=lambda *report: reports.append(report))
    assert done.inserted == count == len(memory)
    assert reports == [(sources.BATCH, count), (count, count)]
    client.delete_memory("many")
