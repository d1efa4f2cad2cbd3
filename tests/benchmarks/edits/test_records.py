from __future__ import annotations

from pathlib import Path

import pytest

from visual_memory_benchmarks.edits.edit import Edit
from visual_memory_benchmarks.edits.records import Records
from visual_memory_benchmarks.edits.states import State
from visual_memory_benchmarks.errors import BadFile, OtherRun

STUDY = {"ks": (10, 50), "voting": "rank"}
ONE = State(0, Edit("edges", 1.0), 16, 36, "ab12", {10: {"edge": [0, 1]}, 50: {"edge": [2, 3]}})
TWO = State(1, Edit("value-pruning", 0.1), 2, 18, "cd34", {10: {"edge": []}, 50: {"edge": []}})


def test_states_are_there_again(tmp_path: Path) -> None:
    records = Records(tmp_path / "edits.jsonl", STUDY)
    records.add(ONE)
    records.add(TWO)

    again = Records(tmp_path / "edits.jsonl", STUDY)

    assert again.states == records.states == {(0, ONE.edit): ONE, (1, TWO.edit): TWO}


@pytest.mark.parametrize("lost", [1, 20, 60])
def test_a_line_that_a_kill_left_unfinished_is_dropped(tmp_path: Path, lost: int) -> None:
    path = tmp_path / "edits.jsonl"
    records = Records(path, STUDY)
    records.add(ONE)
    records.add(TWO)
    path.write_bytes(path.read_bytes()[:-lost])

    again = Records(path, STUDY)
    again.add(TWO)

    assert again.states == Records(path, STUDY).states == records.states


def test_an_unfinished_first_line_is_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "edits.jsonl"
    path.write_text('{"study":{"ks"')

    Records(path, STUDY).add(ONE)

    assert list(Records(path, STUDY).states.values()) == [ONE]


def test_records_of_another_study_are_refused_by_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "edits.jsonl"
    Records(path, STUDY)

    with pytest.raises(OtherRun, match=r"edits\.jsonl is of another run \(other voting\)"):
        Records(path, STUDY | {"voting": "plurality"})


@pytest.mark.parametrize("text", ["states\n", '{"rows":1}\n', '{"study":{}}\n{"seed":0}\n'])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "edits.jsonl"
    path.write_text(text)

    with pytest.raises(BadFile, match=r"edits\.jsonl"):
        Records(path, {})
