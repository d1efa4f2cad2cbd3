from __future__ import annotations

from pathlib import Path

import pytest

from visual_memory_benchmarks.errors import BadFile, UnmappedLabels
from visual_memory_benchmarks.trials import mapping


def test_a_file_maps_labels_to_categories(tmp_path: Path) -> None:
    path = tmp_path / "map.csv"
    path.write_text("label,category\ntabby,cat\n\nbeagle,dog\n")

    assert mapping.read(path) == {"tabby": "cat", "beagle": "dog"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "write label,category"),
        ("label\ntabby\n", "the header is 'label'"),
        ("label,category\ntabby\n", "line 2 has 1 fields"),
        ("label,category\ntabby,feline\n", "line 2 names the unknown category 'feline'"),
        ("label,category\ntabby,cat\ntabby,dog\n", "line 3 maps 'tabby' again"),
    ],
)
def test_a_file_that_maps_badly_is_refused_by_line(
    tmp_path: Path, text: str, sentence: str
) -> None:
    path = tmp_path / "map.csv"
    path.write_text(text)

    with pytest.raises(BadFile, match=sentence):
        mapping.read(path)


@pytest.mark.parametrize(
    "data", ["label,category\ncafé,cat\n".encode("latin-1"), b"label,category\n" + b"x" * 140_000]
)
def test_a_file_that_is_no_csv_in_utf8_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "map.csv").write_bytes(data)

    with pytest.raises(BadFile, match=r"map\.csv: cannot be read \(.*CSV in UTF-8"):
        mapping.read(tmp_path / "map.csv")


def test_labels_that_are_categories_need_no_mapping() -> None:
    assert mapping.complete(["cat", "tabby"], {"tabby": "cat"}) == {"cat": "cat", "tabby": "cat"}


def test_labels_without_a_category_are_refused_with_all_of_them_and_the_choices() -> None:
    with pytest.raises(UnmappedLabels, match=r"accordion, tabby.*label,category.*truck") as caught:
        mapping.complete(["tabby", "cat", "accordion"], {})

    assert caught.value.labels == ("accordion", "tabby")


def test_a_label_called_as_no_answer_is_needs_a_mapping() -> None:
    with pytest.raises(UnmappedLabels, match="none of the categories: na"):
        mapping.complete(["cat", "na"], {})

    assert mapping.complete(["cat", "na"], {"na": "dog"}) == {"cat": "cat", "na": "dog"}
    assert mapping.complete(["cat", "na"], {"na": "na"}) == {"cat": "cat", "na": "na"}
