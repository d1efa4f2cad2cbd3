"""Tables, JSON and counts as a person or a program reads them."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.client.terminal.terminal import shown
from wcwidth import width

from visual_memory.terminal.output import (
    distinguishable,
    fitted,
    is_shown,
    plural,
    print_json,
    print_json_array,
    print_table,
    printable,
    say,
    size,
    with_ends,
)


def test_a_table_is_as_wide_as_its_cells_with_numbers_to_the_right(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table(("label", "n"), [("cat", 1), ("elephant", 12)])

    assert capsys.readouterr().out == "label      n\ncat        1\nelephant  12\n"


def test_a_table_without_rows_has_its_headers(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("label", "n"), [])

    assert capsys.readouterr().out == "label  n\n"


def test_a_table_has_four_decimals_and_no_trailing_blanks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table(("name", "value"), [("a\x1b", 0.5), ("bcdef", 10.0)])

    assert capsys.readouterr().out.splitlines() == [
        "name     value",
        "a\\x1b   0.5000",
        "bcdef  10.0000",
    ]


def test_labels_that_look_the_same_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    labels = [
        "cat",
        "cat ",
        " cat",
        "  ",
        "sch\u00f6n",
        "scho\u0308n",
        "e\u0301te\u0301",
        "a\\\u0308'",
    ]

    print_table(("label",), [(label,) for label in labels])

    assert capsys.readouterr().out.splitlines() == [
        "label",
        "cat",
        "cat\\x20",
        "\\x20cat",
        "\\x20\\x20",
        "sch\u00f6n",
        "scho\\u0308n",
        "e\u0301te\u0301",
        "a\\\u0308'",
    ]


@given(st.lists(st.text("a \u00e9e\u0301\u212b\u00c5\uac00\u1100\u1161", max_size=4), unique=True))
def test_no_two_texts_are_printed_alike(texts: list[str]) -> None:
    shown = distinguishable(texts)

    forms = {unicodedata.normalize("NFC", with_ends(shown[text])) for text in texts}
    assert len(forms) == len(texts)
    assert all(form == form.strip(" ") for form in forms)


def test_a_table_is_aligned_by_what_a_terminal_shows(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("label", "n"), [("猫", 1), ("e\u0301te\u0301", 12), ("🐈🐈🐈", 3)])

    assert capsys.readouterr().out.splitlines() == [
        "label    n",
        "猫       1",
        "e\u0301te\u0301     12",
        "🐈🐈🐈   3",
    ]


@pytest.mark.parametrize(
    ("widths", "room", "fits"),
    [
        ([5, 2], 9, [5, 2]),
        ([60, 4, 30], 60, [26, 4, 26]),
        ([60, 4], 5, [3, 3]),
        ([], 5, []),
    ],
)
def test_only_the_widest_columns_are_cut(widths: list[int], room: int, fits: list[int]) -> None:
    assert fitted(widths, room) == fits


def test_on_a_terminal_long_cells_are_cut_and_elsewhere_whole() -> None:
    program = (
        "from visual_memory.terminal.output import print_table;"
        "print_table(('id', 'label'), [('a' * 100, 'cat'), ('猫' * 50, 'dog')])"
    )
    command = [sys.executable, "-c", program]
    piped = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = shown(command, "stdout", env={**os.environ, "COLUMNS": "40"}).splitlines()

    assert "a" * 100 in piped
    assert "猫" * 50 in piped
    assert lines[1] == f"{'a' * 16}…{'a' * 16}  cat"
    assert lines[2] == f"{'猫' * 8}…{'猫' * 8}  dog"


HOSTILE = """
from visual_memory.terminal.output import print_table
labels = ["猫" * 60, "e\\u0301" * 90, "👩\\u200d👧🐈" * 30, "قطة" * 30]
labels += ["\\u202egnp.exe" * 9, "\\x1b[2J" * 9]
rows = [("a" * 50 + str(at), label, 12345, 0.5) for at, label in enumerate(labels)]
print_table(("id", "label", "entries", "share"), rows)
"""


@pytest.mark.parametrize("columns", [40, 80])
def test_no_line_of_a_table_is_wider_than_the_terminal(columns: int) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    said = shown([sys.executable, "-c", HOSTILE], "stdout", columns=columns, env=environment)

    lines = said.replace("\r\n", "\n").splitlines()
    assert len(lines) == 7
    assert columns - 1 <= max(map(width, lines)) <= columns
    for number, line in enumerate(lines[1:]):
        assert line.split()[0].endswith(f"{number}")  # the end of an id tells it from others
        assert line.endswith("  12345  0.5000")
        assert line.replace(" ", "").isprintable()


@pytest.mark.parametrize(
    ("variables", "bold"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
    ],
)
def test_headers_are_bold_where_the_terminal_shows_it_and_it_is_wanted(
    variables: dict[str, str], bold: bool
) -> None:
    program = (
        "from visual_memory.terminal.output import print_table; print_table(('id',), [('a',)])"
    )
    environment = {name: each for name, each in os.environ.items() if name != "NO_COLOR"}

    said = shown([sys.executable, "-c", program], "stdout", env={**environment, **variables})

    assert said == ("\033[1mid\033[22m\r\na\r\n" if bold else "id\r\na\r\n")


def test_json_keeps_every_letter(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"ä": 1})

    assert capsys.readouterr().out == '{\n  "ä": 1\n}\n'


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("a\x1b[2Jb\nc\rd\te\x07", "a\\x1b[2Jb\\nc\\rd\\te\\x07"),
        ("\u202egnp.exe\u2066", "\\u202egnp.exe\\u2066"),
        ("a\u200bb\ufeffc\u2028d\x85e", "a\\u200bb\\ufeffc\\u2028d\\x85e"),
        ("\udcff\U000e0001", "\\udcff\\U000e0001"),
        ("猫\u3000é\xa0ñ 🐈 C:\\new 'it''s'", "猫\u3000é\xa0ñ 🐈 C:\\new 'it''s'"),
    ],
)
def test_a_label_neither_moves_the_cursor_nor_hides(label: str, shown: str) -> None:
    assert printable(label) == shown


@given(st.lists(st.text(), min_size=1))
def test_what_is_said_is_as_many_lines_as_were_given(lines: list[str]) -> None:
    said = io.StringIO()

    say(*lines, file=said)

    assert said.getvalue().count("\n") == len(lines)
    assert len(said.getvalue().splitlines()) == len(lines)
    assert all(map(is_shown, said.getvalue().replace("\n", "")))


@pytest.mark.parametrize("values", [[], [1], [{"a": "é"}, None]])
def test_an_array_item_by_item_is_json(
    capsys: pytest.CaptureFixture[str], values: list[object]
) -> None:
    print_json_array(iter(values))

    assert json.loads(capsys.readouterr().out) == values


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [
        (1, "entry", "1 entry"),
        (2, "entry", "2 entries"),
        (0, "class", "0 classes"),
        (1200, "picture", "1,200 pictures"),
    ],
)
def test_things_are_counted_in_plain_words(count: int, noun: str, text: str) -> None:
    assert plural(count, noun) == text


@pytest.mark.parametrize(
    ("count", "printed"),
    [
        (0, "0.0 KiB"),
        (2_600, "2.5 KiB"),
        (104_857, "102.4 KiB"),
        (104_858, "0.1 MiB"),
        (45 << 30, "46,080.0 MiB"),
    ],
)
def test_a_size_of_little_is_not_nothing(count: int, printed: str) -> None:
    assert size(count) == printed
