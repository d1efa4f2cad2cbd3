"""A cached graph is used while it is whole, and written anew when it is not."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from visual_memory_embedders.backends.lite_backend import cached_graph

GRAPH = b"graph" * 1000


def never() -> bytes:
    raise AssertionError("a whole file was made anew")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "new" / "a.onnx"
    cached_graph(path, lambda: GRAPH)
    return path


def test_the_second_time_nothing_is_made(path: Path) -> None:
    assert cached_graph(path, never) == GRAPH


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(GRAPH[:-1]),
        lambda path: path.write_bytes(b"Graph" + GRAPH[5:]),
        lambda path: path.write_bytes(b""),
        lambda path: path.unlink(),
        lambda path: path.with_name("a.onnx.sha256").unlink(),
        lambda path: path.with_name("a.onnx.sha256").write_text("0" * 64),
    ],
)
def test_a_damaged_file_is_made_anew(path: Path, damage: Callable[[Path], object]) -> None:
    damage(path)

    assert cached_graph(path, lambda: GRAPH) == GRAPH
    assert cached_graph(path, never) == GRAPH


def test_nothing_else_is_left_in_the_folder(path: Path) -> None:
    assert sorted(file.name for file in path.parent.iterdir()) == ["a.onnx", "a.onnx.sha256"]


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").mkdir()

    assert cached_graph(tmp_path / "a.onnx", lambda: GRAPH) == GRAPH

    assert [file.name for file in tmp_path.iterdir()] == ["a.onnx"]


def test_many_writers_agree(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    with ThreadPoolExecutor(8) as threads:
        graphs = threads.map(lambda _: cached_graph(path, lambda: GRAPH), range(64))

        assert set(graphs) == {GRAPH}
    assert cached_graph(path, never) == GRAPH


@pytest.mark.parametrize("folder", ["file/cache", "/proc/cache"])
def test_what_cannot_be_kept_is_made_each_time(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    made: list[bytes] = []

    def make() -> bytes:
        made.append(b"graph")
        return b"graph"

    path = tmp_path / folder / "graph.onnx"

    assert [cached_graph(path, make), cached_graph(path, make)] == [b"graph", b"graph"]
    assert len(made) == 2
