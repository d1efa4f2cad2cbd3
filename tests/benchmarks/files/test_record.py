from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from visual_memory_benchmarks.errors import BadFile, OtherRun
from visual_memory_benchmarks.files import record
from visual_memory_benchmarks.files.record import Record

RECORD = Record(
    benchmark="edge",
    maker="lite0",
    memory={"name": "pets", "uid": "1", "embedder": {"name": "lite0"}, "digest": "ab", "count": 3},
    parameters={"k": 5, "voting": "rank", "limit": None, "mapping": {}},
    seed=0,
    data={"edges": "cd"},
    questions=3,
    starts=({"time": "then"},),
)


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    ended = RECORD.ended()
    ended.write(tmp_path / "record.json")

    assert record.read(tmp_path / "record.json") == ended
    assert ended.end_time
    assert ended.digest_after == "ab"
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


def test_a_second_start_keeps_the_first_digest(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    RECORD.ended().write(path)
    again = replace(
        RECORD, memory={**RECORD.memory, "digest": "ff"}, starts=({"time": "now"},)
    ).resumed(path)

    assert again.digest == "ab"
    assert [each["time"] for each in again.starts] == ["then", "now"]
    assert (again.end_time, again.digest_after) == (None, None)
    assert RECORD.resumed(tmp_path / "none.json") is RECORD


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"parameters": {**RECORD.parameters, "k": 6}}, "k was 5 and is 6"),
        ({"seed": 1}, "seed was 0 and is 1"),
        ({"data": {"edges": "ce"}}, 'data edges was "cd" and is "ce"'),
        ({"data": {"edges": "cd", "bank": "x"}}, 'data bank was null and is "x"'),
        ({"memory": {**RECORD.memory, "uid": "2"}}, 'memory uid was "1" and is "2"'),
    ],
)
def test_another_run_is_refused_with_what_differs(
    change: dict[str, object], difference: str, tmp_path: Path
) -> None:
    RECORD.write(tmp_path / "record.json")

    with pytest.raises(OtherRun, match=difference):
        replace(RECORD, **change).resumed(tmp_path / "record.json")  # type: ignore[arg-type]  # of several types


def test_what_follows_from_another_choice_of_pictures_is_no_difference_of_its_own(
    tmp_path: Path,
) -> None:
    RECORD.write(tmp_path / "record.json")
    other = replace(
        RECORD,
        parameters={**RECORD.parameters, "limit": 3},
        data={"edges": "ce"},
        questions=4,
    )

    with pytest.raises(OtherRun, match=r"another run \(limit was null and is 3\)"):
        other.resumed(tmp_path / "record.json")


@pytest.mark.parametrize(
    "change",
    [
        {"memory": {}},
        {"memory": {**RECORD.memory, "digest": None}},
        {"memory": []},
        {"data": []},
        {"parameters": None},
    ],
)
def test_a_record_that_lacks_what_is_compared_is_refused(
    change: dict[str, object], tmp_path: Path
) -> None:
    path = tmp_path / "record.json"
    path.write_text(json.dumps({**asdict(RECORD), **change}))

    with pytest.raises(BadFile, match="no record of a run"):
        RECORD.resumed(path)


@pytest.mark.parametrize("text", ["{}", "[" * 100_000])
def test_a_broken_record_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "record.json").write_text(text)

    with pytest.raises(BadFile, match="no record of a run"):
        record.read(tmp_path / "record.json")
