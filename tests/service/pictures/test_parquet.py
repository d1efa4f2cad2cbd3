"""Rows of a Parquet file, in every way in which it may be written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from visual_memory.tables import EMBEDDER
from visual_memory.terminal.refused import Refused
from visual_memory_service.pictures.parquet import File


def write(path: Path, **columns: Any) -> Path:
    table = {"id": ["a", "b"], "label": ["x", "y"], "vector": [[1.0, 2.0], [3.0, 4.0]], **columns}
    pyarrow.parquet.write_table(pa.table(table), path)
    return path


@pytest.mark.parametrize(
    "kind",
    [pa.list_(pa.float64()), pa.list_(pa.float32(), 2), pa.large_list(pa.float32())],
    ids=str,
)
def test_vectors_of_any_float_become_float32(tmp_path: Path, kind: pa.DataType) -> None:
    vectors = pa.array([[1.0, 2.0], [3.0, 4.0]], kind)

    rows = list(File(write(tmp_path / "a.parquet", vector=vectors), 2, kept=False).items())

    assert [row.id for row in rows] == ["a", "b"]
    assert [np.asarray(row.content).dtype for row in rows] == [np.float32] * 2
    assert np.asarray(rows[1].content).tolist() == [3.0, 4.0]


@pytest.mark.parametrize(
    "metadata",
    [
        pa.array([[("k", "1")], None], pa.map_(pa.string(), pa.string())),
        pa.array([{"k": 1}, {"k": None}]),
        pa.array(['{"k": 1}', "{}"]),
        pa.array(['{"k": 1}', "null"]),
        pa.array(['{"k": 1}', ""]),
    ],
    ids=["map", "struct", "JSON", "null", "empty"],
)
def test_metadata_may_be_a_map_a_struct_or_json(tmp_path: Path, metadata: pa.Array) -> None:
    rows = File(write(tmp_path / "a.parquet", metadata=metadata), 2, kept=False).items()

    assert [row.metadata for row in rows] == [{"k": "1"}, {}]


@pytest.mark.parametrize(
    "metadata",
    [
        *([text, "{}"] for text in ("no", "[1]", "{", " ", "[" * 100_000)),
        *([text, "{}"] for text in ("0", "false", '""', "[]", '["ab", "cd"]', '[["k", "1"]]')),
        [1, 2],
        [["ab", "cd"], []],
        [[["k", "1"]], []],
    ],
)
def test_metadata_of_another_kind_are_refused(tmp_path: Path, metadata: list[object]) -> None:
    file = File(write(tmp_path / "a.parquet", metadata=metadata), 2, kept=False)

    with pytest.raises(Refused, match=r"near row 0 are neither a map"):
        list(file.items())


@pytest.mark.parametrize(
    ("vectors", "problem"),
    [
        ([[1.0], [3.0]], "The vector of row 0 of .* has dimension 1, but this memory holds 2"),
        ([[1.0, 2.0], [3.0] * 3], "The vector of row 1 of .* has dimension 3"),
        ([[1.0, 2.0], None], "Row 1 of .* lacks an id, label or content"),
    ],
)
def test_vectors_of_another_dimension_are_refused(
    tmp_path: Path, vectors: list[list[float] | None], problem: str
) -> None:
    file = File(write(tmp_path / "a.parquet", vector=vectors), 2, kept=False)

    with pytest.raises(Refused, match=problem):
        list(file.items())


def test_labels_may_be_a_dictionary(tmp_path: Path) -> None:
    labels = pa.array(["x", "y"]).dictionary_encode()

    rows = File(write(tmp_path / "a.parquet", label=labels), 2, kept=False).items()

    assert [row.label for row in rows] == ["x", "y"]


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"id": [1, 2]}, r"id \(int64\)"),
        ({"vector": ["a", "b"]}, r"vector \(string\)"),
        ({"vector": [[1], [2]]}, r"vector \(list<element: int64>\)"),
        ({"vector": ["a", "b"], "image": ["a", "b"]}, r"image \(string\)"),
    ],
)
def test_wrong_columns_are_named_beside_what_is_wanted(
    tmp_path: Path, columns: dict[str, Any], found: str
) -> None:
    path = write(tmp_path / "a.parquet", **columns)

    with pytest.raises(Refused, match=rf"{found}.*wanted are id and label"):
        File(path, 2, kept=False)


def test_a_column_that_is_there_twice_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    columns = [pa.array(["a"]), pa.array(["x"]), pa.array(["y"]), pa.array([[1.0]])]
    pyarrow.parquet.write_table(
        pa.Table.from_arrays(columns, ["id", "label", "label", "vector"]), path
    )

    with pytest.raises(Refused, match="has more than one column label"):
        File(path, 2, kept=False)


def test_a_file_that_is_damaged_inside_is_refused(tmp_path: Path) -> None:
    count = 20_000
    path = write(
        tmp_path / "a.parquet",
        id=[f"{number:06}" for number in range(count)],
        label=["x"] * count,
        vector=[[1.0, 2.0]] * count,
    )
    whole = bytearray(path.read_bytes())
    whole[1000:3000] = b"\xff" * 2000
    path.write_bytes(whole)

    with pytest.raises(Refused, match=r"cannot be read to its end \("):
        list(File(path, 2, kept=False).items())


def test_a_file_whose_names_are_no_text_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", colour=["red", "red"])
    path.write_bytes(path.read_bytes().replace(b"colour", b"col\x9dur"))

    with pytest.raises(Refused, match=r"a Parquet file that can be read \('utf-8' codec"):
        File(path, 2, kept=False)


def test_a_file_whose_embedder_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"id": ["a"], "label": ["x"], "vector": [[1.0, 2.0]]})
    pyarrow.parquet.write_table(table.replace_schema_metadata({EMBEDDER: b"\xff"}), path)

    with pytest.raises(Refused, match=r"a Parquet file that can be read \('utf-8' codec"):
        File(path, 2, kept=False)


def test_images_beside_vectors_are_read_where_they_are_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", image=pa.array([b"picture", None]))

    kept = [item.image for item in File(path, 2, kept=True).items()]
    left = [item.image for item in File(path, 2, kept=False).items()]

    assert (kept, left) == ([b"picture", None], [None, None])


def test_an_image_column_of_another_kind_is_refused_where_it_would_be_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", image=["a.jpg", "b.jpg"])

    with pytest.raises(Refused, match=r"image of .* holds string, where this memory keeps"):
        File(path, 2, kept=True)
    assert [item.image for item in File(path, 2, kept=False).items()] == [None, None]


def test_an_image_column_may_be_all_empty(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", image=pa.nulls(2))

    assert [item.image for item in File(path, 2, kept=True).items()] == [None, None]
