"""Datasets of real libraries as sources: ``make libraries``."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import datasets
import pytest
import torch
import torchvision
import webdataset
from PIL import Image
from tests.conftest import Server, to_picture

import visual_memory
from visual_memory import InvalidArgument, Memory, sources

LABELS = ("cat", "dog", "cat")


@pytest.fixture
def memory(server: Server) -> Iterator[Memory]:
    with visual_memory.connect(server.address) as client:
        yield client.create_memory("collected", embedder="efficientnet-lite0")
        client.delete_memory("collected")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, label in enumerate(LABELS):
        path = tmp_path / "pets" / label / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(to_picture(number))
    return tmp_path / "pets"


def labels(memory: Memory) -> dict[str, str]:
    return {entry.id: entry.label for entry in memory}


@pytest.mark.parametrize("streaming", [False, True])
def test_a_dataset_of_hugging_face(memory: Memory, folder: Path, streaming: bool) -> None:
    data = datasets.load_dataset(
        "imagefolder", data_dir=str(folder), split="train", streaming=streaming
    )
    assert sources.insert(memory, sources.dataset(data)).inserted == 3
    assert sorted(labels(memory).values()) == ["cat", "cat", "dog"]
    files = {hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*.png")}
    assert {entry.content_sha256 for entry in memory} == files  # not encoded anew
    assert sources.insert(memory, sources.dataset(data)).stored_before == 3


def test_columns_of_a_dataset_become_ids_and_metadata(memory: Memory) -> None:
    rows = {
        "img": [Image.open(io.BytesIO(to_picture(n))) for n in range(2)],
        "kind": ["a", "b"],
        "name": ["x", "y"],
        "place": ["yard", "roof"],
        "age": [3, 4],
    }
    data = datasets.Dataset.from_dict(rows).cast_column("img", datasets.Image())
    sources.insert(memory, sources.dataset(data, image="img", label="kind", id="name"))
    assert labels(memory) == {"x": "a", "y": "b"}
    assert memory.get("y").metadata == {"place": "roof", "age": "4"}
    with pytest.raises(InvalidArgument, match="no column 'label', but 'img', 'kind'"):
        list(sources.dataset(data, image="img"))
    with pytest.raises(InvalidArgument, match=r"give one, such as data\['train'\]"):
        list(sources.dataset(datasets.DatasetDict(train=data)))


def test_an_image_folder_of_torchvision(memory: Memory, folder: Path) -> None:
    data = torchvision.datasets.ImageFolder(folder, transform=torchvision.transforms.ToTensor())
    assert sources.insert(memory, sources.torchvision(data)).inserted == 3
    assert labels(memory) == {"cat/0.png": "cat", "cat/2.png": "cat", "dog/1.png": "dog"}


def test_another_dataset_of_torchvision(memory: Memory) -> None:
    transform = torchvision.transforms.ToTensor()
    data = torchvision.datasets.FakeData(4, (3, 32, 32), num_classes=2, transform=transform)
    assert sources.insert(memory, sources.torchvision(data)).inserted == 4
    assert set(labels(memory)) == {f"FakeData-train-{n:08}" for n in range(4)}
    assert isinstance(data[0][0], torch.Tensor)  # its transform is there again


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # open shards
def test_shards_of_webdataset(memory: Memory, tmp_path: Path) -> None:
    shard = tmp_path / "pets-000.tar"
    with tarfile.open(shard, "w") as tar:
        for number in range(3):
            files = {"png": to_picture(number), "cls": str(number % 2).encode()}
            files["json"] = b'{"place": "yard", "kind": "k%d"}' % number
            for suffix, data in files.items():
                member = tarfile.TarInfo(f"{number:04}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    shards = webdataset.WebDataset(str(shard), shardshuffle=False)
    done = sources.insert(memory, sources.webdataset(shards, classes=["cat", "dog"]))
    assert done.inserted == 3
    assert labels(memory) == {"0000": "cat", "0001": "dog", "0002": "cat"}
    assert memory.get("0001").metadata == {"place": "yard", "kind": "k1"}

    by_json = sources.webdataset(shards, label="json:kind")
    assert [item.label for item in by_json] == ["k0", "k1", "k2"]
    with pytest.raises(InvalidArgument, match="no picture or no txt: 0000 has"):
        list(sources.webdataset(shards, label="txt"))
    with pytest.raises(InvalidArgument, match="none has the number 1"):
        list(sources.webdataset(shards, classes=["cat"]))
