from __future__ import annotations

import csv
import gzip
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.benchmarks.made import HEADER, row, to_trials

from visual_memory.terminal.refused import MissingExtra
from visual_memory_benchmarks.errors import BadFile, BadTrials, NoTrials
from visual_memory_benchmarks.metrics.bootstrap import Resampling
from visual_memory_benchmarks.metrics.summary import summarise
from visual_memory_benchmarks.trials.datasets import CATEGORIES, DATASETS
from visual_memory_benchmarks.trials.trial_files import file_name, find, read, write, write_parquet
from visual_memory_benchmarks.trials.trials import COLUMNS, Trials

EDGE = DATASETS["edge"]
FEW = Resampling(resamples=2)


def table(
    folder: Path, *rows: str, header: str = HEADER, name: str = "edge_a_session-1.csv"
) -> Path:
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def assert_same(one: Trials, other: Trials) -> None:
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_column_names_are_read_in_any_case_and_order(tmp_path: Path) -> None:
    header = "imagename,subj,Session,trial,RT,object_response,category,condition"
    path = table(tmp_path, "1_cat1.png,subject-01,2,3,0.5,dog,cat,0", header=header)

    trials = read([path], EDGE)

    assert trials.images.tolist() == ["cat1.png"]
    assert (trials.sessions[0], trials.numbers[0], trials.seconds[0]) == (2, 3, 0.5)


def test_a_table_may_be_gzipped_or_have_the_line_ends_of_windows(tmp_path: Path) -> None:
    plain = table(tmp_path, row())
    zipped = tmp_path / "b.csv.gz"
    zipped.write_bytes(gzip.compress(plain.read_bytes().replace(b"\n", b"\r\n")))

    assert_same(read([zipped], EDGE), read([plain], EDGE))


def test_na_is_an_answer_and_no_missing_value(tmp_path: Path) -> None:
    assert read([table(tmp_path, row(response="na"))], EDGE).responses.tolist() == ["na"]


def test_tokens_become_canonical(tmp_path: Path) -> None:
    path = table(tmp_path, row(condition="0.10"))

    assert read([path], DATASETS["uniform-noise"]).conditions.tolist() == ["0.1"]


def test_networks_of_one_name_are_told_apart_by_the_start_of_the_file_name(tmp_path: Path) -> None:
    paths = [table(tmp_path, row("vgg"), name=name) for name in ("caffe_x.csv", "x.csv")]

    assert read(paths, EDGE).makers.tolist() == ["caffe-vgg", "vgg"]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (row(category="na"), r"line 3: the category 'na' is unknown; choose one of airplane"),
        (row(category="lamp"), r"line 3: the category 'lamp' is unknown"),
        (row(response="lamp"), r"line 3: the response 'lamp' is unknown"),
        (row(response=""), r"line 3: the response '' is unknown.*or write na"),
        (row(response="NaN"), r"line 3: the response 'NaN' is unknown.*or write na"),
        (row(maker=""), r"line 3: the decision maker \(subj\) has no name"),
        (row(maker="people"), r"line 3: a decision maker is called people"),
        (row(session="one"), r"line 3: session is 'one'; write a number"),
        (row(number=""), r"line 3: trial is ''; write a number"),
        (row(session="9" * 30), r"line 3: session is '9+'; write a number"),
        (row(seconds="fast"), r"line 3: rt is 'fast'; write a number"),
        ("a,1,1,NaN,cat,cat,0", r"line 3: 7 fields where the header has 8"),
        (row("first", image="9_cat9.png"), r"line 3: first answered cat9.png .*, line 2"),
    ],
)
def test_a_row_that_cannot_be_used_is_refused_by_file_and_line(
    tmp_path: Path, line: str, sentence: str
) -> None:
    path = table(tmp_path, row("first", image="cat9.png"), line)

    with pytest.raises(BadTrials, match=sentence) as caught:
        read([path], EDGE)

    assert caught.value.place == f"{path}, line 3"


def test_conditions_of_two_datasets_in_one_table_are_refused(tmp_path: Path) -> None:
    path = table(tmp_path, row(condition="c50"), row(condition="90", image="cat2.png"))

    with pytest.raises(BadTrials, match=r"line 3: contrast has no condition '90'.* c01; keep"):
        read([path], DATASETS["contrast"])


def test_a_picture_answered_in_two_tables_is_refused_with_both_places(tmp_path: Path) -> None:
    paths = [table(tmp_path, row(), name=name) for name in ("a.csv", "b.csv")]

    with pytest.raises(BadTrials, match=r"b\.csv, line 2: lite0 answered .*a\.csv, line 2"):
        read(paths, EDGE)


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        (f"{HEADER},age", r"line 1: unknown columns age; the columns are subj,session"),
        ("subj,session,trial", r"line 1: the columns rt, object_response.* are missing"),
        (f"{HEADER},subj", r"line 1: a column comes twice"),
    ],
)
def test_a_header_with_other_columns_is_refused(tmp_path: Path, header: str, sentence: str) -> None:
    path = table(tmp_path, ",".join("1" for _ in header.split(",")), header=header)

    with pytest.raises(BadTrials, match=sentence):
        read([path], EDGE)


def test_a_table_without_trials_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty.csv"
    empty.touch()

    with pytest.raises(BadFile, match="the file is empty; finish the run"):
        read([empty], EDGE)
    with pytest.raises(BadFile, match="no trials; finish the run"):
        read([table(tmp_path)], EDGE)


@pytest.mark.parametrize(
    "data", [b"not gzip", gzip.compress(b"x" * 99, mtime=0)[:-12], b"\x1f\x8b"]
)
def test_a_damaged_file_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(data)

    with pytest.raises(BadFile, match="cannot be read"):
        read([path], EDGE)


def test_a_field_that_never_ends_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="field larger than field limit"):
        read([table(tmp_path, f'"{"x" * 200_000}')], EDGE)


def test_tables_are_found_by_the_folder_they_lie_in(tmp_path: Path) -> None:
    (tmp_path / "run" / "edge").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    path = table(tmp_path / "run" / "edge", row())
    table(tmp_path / "other", row())

    assert find([tmp_path]) == {"edge": [path]}


def test_a_folder_without_tables_is_refused_with_the_names_that_folders_have(
    tmp_path: Path,
) -> None:
    with pytest.raises(NoTrials, match="one of edge, silhouette"):
        find([tmp_path])


def test_files_are_named_as_the_toolbox_looks_for_them() -> None:
    assert file_name("edge", "subject-01", 1) == "edge_subject-01_session_1.csv"
    assert file_name("edge", "resnet50_x", 1) == "edge_resnet50-x_session-1.csv"


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    trials = to_trials({"lite0_rank": ["cat", "na"], "subject-01": ["dog", "dog"]}, ["cat", "dog"])
    seconds = np.array([math.nan, math.nan, 0.868942022323608, 1 / 3])
    trials = replace(trials, seconds=seconds)

    paths = write(tmp_path, trials)

    names = ["edge_lite0-rank_session-1.csv", "edge_subject-01_session_1.csv"]
    assert [path.relative_to(tmp_path / "edge").as_posix() for path in paths] == names
    assert_same(read(paths, EDGE), trials)


def test_names_that_would_share_a_file_are_refused(tmp_path: Path) -> None:
    trials = to_trials({"a_b": ["cat"], "a-b": ["cat"]}, ["cat"])

    with pytest.raises(BadTrials, match="a_b would be written over a-b"):
        write(tmp_path, trials)


@pytest.mark.parametrize("name", ["a/b", "..", "a b"])
def test_names_that_are_no_part_of_a_file_name_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadTrials, match="letters, digits"):
        write(tmp_path, to_trials({name: ["cat"]}, ["cat"]))

    assert list(tmp_path.rglob("*.csv")) == []


def test_parquet_is_read_again(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    trials = to_trials({"lite0": ["cat", "na"], "subject-01": ["dog", "dog"]}, ["cat", "dog"])

    write_parquet(tmp_path / "edge.parquet", trials)

    assert_same(read([tmp_path / "edge.parquet"], EDGE), trials)


def test_a_row_of_parquet_is_refused_by_its_number(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "edge.parquet"
    write_parquet(path, to_trials({"lite0": ["cat", "lamp"]}, ["cat", "dog"]))

    with pytest.raises(BadTrials, match=r"edge\.parquet, row 2: the response 'lamp' is unknown"):
        read([path], EDGE)


def test_parquet_without_its_library_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(MissingExtra, match=r"pip install -e '\.\[parquet\]'"):
        write_parquet(tmp_path / "edge.parquet", to_trials({"lite0": ["cat"]}, ["cat"]))


def test_a_published_table_is_written_as_it_was(shared: Path, tmp_path: Path) -> None:
    name = "edge/edge_subject-01_session_1.csv"
    published = shared / "data" / "human_responses" / "human" / f"{name}.gz"

    [path] = write(tmp_path, read([published], EDGE))

    assert path == tmp_path / name
    text = gzip.decompress(published.read_bytes()).decode()
    assert path.read_text().splitlines() == text.splitlines()


CELLS = st.tuples(st.sampled_from([*CATEGORIES, "na"]), st.floats(0, 9) | st.just(math.nan))


@given(st.lists(st.sampled_from(CATEGORIES), min_size=1, max_size=6), st.data())
def test_any_trials_survive_csv_and_parquet(
    tmp_path_factory: pytest.TempPathFactory, shown: list[str], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("trials")
    n = len(shown)
    cells = [data.draw(st.lists(CELLS, min_size=n, max_size=n)) for _ in "ab"]
    answers = {name: [cell[0] for cell in each] for name, each in zip("ab", cells, strict=True)}
    condition = data.draw(st.sampled_from(DATASETS["high-pass"].conditions))
    trials = to_trials(answers, shown, dataset=DATASETS["high-pass"], condition=condition)
    trials = replace(trials, seconds=np.array([cell[1] for each in cells for cell in each]))

    paths = write(folder, trials)
    write_parquet(folder / "all.parquet", trials)

    assert_same(read(paths, trials.dataset), trials)
    assert_same(read([folder / "all.parquet"], trials.dataset), trials)


# An independent reader, from the published description of the format alone.


def answered(paths: Sequence[Path], condition: str) -> dict[str, dict[str, bool]]:
    """Map decision maker and image id to True if the answer is right, in one condition."""
    found: dict[str, dict[str, bool]] = {}
    for path in paths:
        with path.open(newline="") as file:
            for line in csv.DictReader(file):
                trial = {key.lower(): value for key, value in line.items()}
                if trial["condition"] == condition:
                    parts = trial["imagename"].split("_")
                    wordnet = len(parts) > 1 and parts[-2].startswith("n0")
                    image = "_".join(parts[-2:]) if wordnet else parts[-1]
                    right = trial["object_response"] == trial["category"]
                    found.setdefault(trial["subj"], {})[image] = right
    return found


def kappa(one: dict[str, bool], other: dict[str, bool]) -> float:
    n = len(one)
    p, q = sum(one.values()) / n, sum(other.values()) / n
    observed = sum(one[image] == other[image] for image in one) / n
    expected = p * q + (1 - p) * (1 - q)
    return (observed - expected) / (1 - expected)


def shape_bias(paths: Sequence[Path]) -> float:
    """Return the bias pooled over all decision makers."""
    shape = texture = 0
    for path in paths:
        with path.open(newline="") as file:
            for trial in csv.DictReader(file):
                item = trial["imagename"].split("_")[-1].split(".")[0].split("-")[-1]
                cue = item.rstrip("0123456789")
                if cue != trial["category"]:
                    shape += trial["object_response"] == trial["category"]
                    texture += trial["object_response"] == cue
    return shape / (shape + texture)


@pytest.mark.parametrize(
    ("name", "tokens"),
    [
        ("contrast", DATASETS["contrast"].conditions),
        ("false-colour", ("True", "False")),
        ("uniform-noise", DATASETS["uniform-noise"].conditions),
        ("edge", ("0",)),
    ],
)
def test_an_independent_reader_finds_the_same_metrics_in_what_is_written(
    shared: Path, tmp_path: Path, name: str, tokens: tuple[str, ...]
) -> None:
    folder = shared / "data" / "human_responses" / "human" / name
    paths = write(tmp_path, read(sorted(folder.iterdir()), DATASETS[name]))

    found = summarise(tmp_path, resampling=FEW)["datasets"][name]["humans"]["by_condition"]

    for token, each in zip(tokens, found.values(), strict=True):
        people = answered(paths, token)
        rights = [right for answers in people.values() for right in answers.values()]
        pairs = [kappa(people[a], people[b]) for a, b in combinations(people, 2)]
        assert len(people) == len(paths)
        assert each["accuracy"]["value"] == pytest.approx(sum(rights) / len(rights), abs=1e-12)
        wanted = sum(pairs) / len(pairs)
        assert each["error_consistency"]["value"] == pytest.approx(wanted, abs=1e-12)


def test_an_independent_reader_finds_the_same_shape_bias_in_what_is_written(
    shared: Path, tmp_path: Path
) -> None:
    for kind in ("human", "model"):
        folder = shared / "data" / "human_responses" / kind / "cue-conflict"
        write(tmp_path, read(sorted(folder.iterdir()), DATASETS["cue-conflict"]))

    found = summarise(tmp_path, resampling=FEW)["shape_bias"]

    folder = tmp_path / "cue-conflict"
    assert found is not None
    assert found["humans"]["bias"]["value"] == shape_bias(sorted(folder.glob("*_subject-*")))
    resnet = folder / "cue-conflict_resnet50_session-1.csv"
    assert found["models"]["resnet50"]["bias"]["value"] == shape_bias([resnet])
