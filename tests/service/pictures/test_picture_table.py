"""A CSV table of pictures is read as spreadsheets write it, or refused by its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from visual_memory.terminal.refused import Refused
from visual_memory_service.pictures.picture_table import Row, read


def table(folder: Path, data: bytes) -> Path:
    file = folder / "list.csv"
    file.write_bytes(data)
    return file


def test_a_row_has_an_id_a_label_a_path_and_what_else_is_said_of_it(tmp_path: Path) -> None:
    data = b'label,path,id,note\n"a, b",./x/1.png,,"two\nlines"\n\ncat,2.png,two,\n'

    assert read(table(tmp_path, data)) == (
        [
            Row("x/1.png", "a, b", "./x/1.png", {"note": "two\nlines"}),
            Row("two", "cat", "2.png", {}),
        ],
        {},
    )


def test_empty_columns_without_a_name_are_no_columns(tmp_path: Path) -> None:
    data = b"path,label,,\n1.png,cat,,\n2.png,dog,,\n"

    assert read(table(tmp_path, data)) == (
        [Row("1.png", "cat", "1.png", None), Row("2.png", "dog", "2.png", None)],
        {},
    )


def test_without_other_columns_nothing_is_said_of_metadata(tmp_path: Path) -> None:
    assert read(table(tmp_path, b"\xef\xbb\xbfpath,label\r\n1.png,cat\r\n")) == (
        [Row("1.png", "cat", "1.png", None)],
        {},
    )


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "has no first line with columns; wanted are path and label"),
        (b"path;label\n1.png;cat\n", "has the columns path;label; wanted"),
        (b"path,label,path\n", "has more than one column path"),
        (b"path,label\n\xff.png,cat\n", r"is no CSV table in UTF-8 \(.*\); save it as CSV UTF-8"),
        ("path,label\n1.png,cat\n".encode("utf-16"), "is no CSV table in UTF-8 .* as CSV UTF-8"),
        (b'path,label\n"1.png,cat\n', "is no CSV table in UTF-8"),
    ],
)
def test_what_is_no_such_table_is_refused_with_its_place(
    tmp_path: Path, data: bytes, sentence: str
) -> None:
    with pytest.raises(Refused, match=sentence):
        read(table(tmp_path, data))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"1.png", "has more or fewer cells than there are columns"),
        (b"1.png,cat,more", "has more or fewer cells than there are columns"),
        (b"1.png,", "has no label"),
        (b"1.png, \t", "has no label"),
        (b",cat", "has no path"),
        (b",", "has no path and no label"),
    ],
)
def test_a_bad_row_is_named_by_its_line_and_others_are_read(
    tmp_path: Path, line: bytes, why: str
) -> None:
    data = b"path,label\n" + line + b"\n2.png,dog\n"

    assert read(table(tmp_path, data)) == (
        [Row("2.png", "dog", "2.png", None)],
        {f"{tmp_path}/list.csv, line 2": why},
    )


def test_a_cell_of_a_column_without_a_name_makes_its_row_bad(tmp_path: Path) -> None:
    data = b"path,,label,,\n1.png,,cat,,\n2.png,,cat,,note\n3.png,a note,cat,,\n"

    assert read(table(tmp_path, data)) == (
        [Row("1.png", "cat", "1.png", None)],
        {
            f"{tmp_path}/list.csv, line 3": "has a cell in column 5, which has no name",
            f"{tmp_path}/list.csv, line 4": "has a cell in column 2, which has no name",
        },
    )


def test_an_id_that_comes_again_makes_its_row_bad(tmp_path: Path) -> None:
    data = b"path,label,id\na/1.png,cat,\nb/1.png,dog,a/1.png\na/./1.png,dog,\n"

    rows, bad = read(table(tmp_path, data))

    assert [row.id for row in rows] == ["a/1.png"]
    assert bad == {
        f"{tmp_path}/list.csv, line 3": "has the id a/1.png, as line 2 has",
        f"{tmp_path}/list.csv, line 4": "has the id a/1.png, as line 2 has",
    }
