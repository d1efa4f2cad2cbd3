from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.benchmarks.conftest import Small, remember
from tests.conftest import to_picture

import visual_memory
from visual_memory.terminal.refused import MissingExtra
from visual_memory_benchmarks.errors import (
    BadFile,
    BadPicture,
    BadTrials,
    CannotEmbed,
    MemoryChanged,
    NothingToAnswer,
    NotRemembered,
    OtherRun,
    RunStopped,
    UnmappedLabels,
)
from visual_memory_benchmarks.runs.benchmarks import BENCHMARKS
from visual_memory_benchmarks.runs.run import VECTORS, Settings, run
from visual_memory_benchmarks.runs.session import RunFiles
from visual_memory_benchmarks.stimuli.embeddings import MemoryEmbeddings
from visual_memory_benchmarks.trials import trial_files
from visual_memory_benchmarks.trials.datasets import DATASETS

if TYPE_CHECKING:
    from tests.conftest import Server, Start

SETTINGS = Settings(k=5, batch=8)
FEW = ("airplane", "cat", "dog", "truck")


class Killed(BaseException):
    """An exception that no code catches."""


@pytest.fixture(scope="session")
def embedded(
    server: Server, original: str, pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The vectors of the pictures of cue_conflict, as a run leaves them in its folder."""
    folder = tmp_path_factory.mktemp("embedded")
    paths = sorted((pictures / "cue_conflict").glob("*/*.png"))
    with visual_memory.connect(server.address) as client:
        MemoryEmbeddings(client.memory(original), folder / VECTORS).of(paths)
    return folder


def prepared(embedded: Path, out: Path) -> Path:
    """Copy the vectors, for a test that is not about how a run embeds pictures; return ``out``."""
    shutil.copytree(embedded, out, dirs_exist_ok=True)
    return out


def only(small: Small, *categories: str) -> Small:
    """Remove all other categories of photographs from the data."""
    for folder in (small.data / "natural16").iterdir():
        if folder.name not in categories:
            shutil.rmtree(folder)
    return small


def asked(
    small: Small,
    name: str,
    out: Path,
    settings: Settings = SETTINGS,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> RunFiles:
    return run(
        small.client,
        small.memory.name,
        BENCHMARKS[name],
        data=small.data,
        out=out,
        settings=replace(settings, maker="lite0"),
        progress=progress,
    )


def written(files: RunFiles) -> tuple[bytes, bytes, bytes]:
    return files.trials.read_bytes(), files.answers.read_bytes(), files.results.read_bytes()


def results(files: RunFiles) -> Any:
    return json.loads(files.results.read_bytes())


def at(number: int, act: Callable[[], object]) -> Callable[[int, int], None]:
    """Return a progress function that calls ``act`` once, after ``number`` answers."""
    acted: list[object] = []

    def progress(done: int, total: int) -> None:
        if done >= number and not acted:
            acted.append(act())

    return progress


def raise_killed() -> None:
    raise Killed


def test_trials_are_a_table_of_the_toolbox_in_the_names_that_people_have(
    small: Small, embedded: Path, tmp_path: Path
) -> None:
    files = asked(small, "cue-conflict", prepared(embedded, tmp_path))

    name = "cue-conflict/cue-conflict_lite0_session-1.csv"
    assert files.trials == tmp_path / name
    trials = trial_files.read([files.trials], DATASETS["cue-conflict"])
    assert len(trials) == 48
    assert trials.names[0] == "0001_s5n_dnn_0_airplane_00_airplane1-bicycle2.png"
    assert trials.images[0] == "airplane1-bicycle2.png"
    (again,) = trial_files.write(tmp_path / "again", trials)
    assert again.read_bytes() == files.trials.read_bytes()


def test_answers_are_the_decisions_of_the_service(small: Small, tmp_path: Path) -> None:
    files = asked(small, "cue-conflict", tmp_path)

    trials = trial_files.read([files.trials], DATASETS["cue-conflict"])
    paths = sorted((small.data / "cue_conflict").glob("*/*.png"))
    decisions = small.memory.classify(images=paths, k=5)
    assert trials.responses.tolist() == [decision.label for decision in decisions]
    answers = [json.loads(line) for line in files.answers.read_text().splitlines()]
    assert [each["confidence"] for each in answers] == [each.confidence for each in decisions]
    assert [each["distance"] for each in answers] == [
        each.neighbors.distances[0] for each in decisions
    ]


@pytest.mark.parametrize("name", ["natural", "cue-conflict", "distortion:uniform-noise"])
def test_the_size_of_batches_changes_no_byte(name: str, small: Small, tmp_path: Path) -> None:
    settings = replace(SETTINGS, limit=1)
    only(small, *FEW)

    runs = [
        asked(small, name, tmp_path / str(size), replace(settings, batch=size))
        for size in (1, 3, 1000)
    ]

    assert len({written(files) for files in runs}) == 1


def test_a_picture_of_the_memory_does_not_vote_on_itself(small: Small, tmp_path: Path) -> None:
    files = asked(only(small, *FEW), "natural", tmp_path, replace(SETTINGS, k=1))

    answers = [json.loads(line) for line in files.answers.read_text().splitlines()]
    paths = sorted((small.data / "natural16").glob("*/*"))
    ids = [path.relative_to(small.data / "natural16").as_posix() for path in paths]
    alone = [
        small.memory.classify(images=[path], k=1, exclude_ids=[id])[0]
        for path, id in zip(paths, ids, strict=True)
    ]
    assert [each["label"] for each in answers] == [each.label for each in alone]
    assert min(each["distance"] for each in answers) > 0.01


def test_a_distorted_picture_is_not_asked_of_itself_either(small: Small, tmp_path: Path) -> None:
    settings = replace(SETTINGS, limit=1)

    files = asked(only(small, *FEW), "distortion:contrast", tmp_path, settings)

    answers = [json.loads(line) for line in files.answers.read_text().splitlines()]
    assert min(each["distance"] for each in answers) > 0.01
    assert list(results(files)["by_condition"]) == [
        "clean",
        *DATASETS["contrast"].conditions,
    ]
    assert "single pictures may not" in results(files)["note"]


@pytest.mark.parametrize("name", ["power-equalisation", "laion-c-stickers", "imagenet-c-snow"])
def test_distortions_get_what_they_are_made_from(name: str, small: Small, tmp_path: Path) -> None:
    settings = replace(SETTINGS, limit=1)

    files = asked(only(small, *FEW), f"distortion:{name}", tmp_path, settings)

    assert results(files)["accuracy"]["value"] is not None
    data = json.loads(files.record.read_bytes())["data"]
    assert ("bank" in data) == (name == "laion-c-stickers")


def test_a_run_goes_on_after_an_end_anywhere_as_if_there_had_been_none(
    small: Small, embedded: Path, tmp_path: Path
) -> None:
    whole = written(asked(small, "cue-conflict", prepared(embedded, tmp_path / "whole")))
    resumed: list[int] = []

    for number in (0, 8, 16, 40):
        with pytest.raises(Killed):
            asked(small, "cue-conflict", tmp_path / "cut", progress=at(number, raise_killed))
    files = asked(
        small, "cue-conflict", tmp_path / "cut", progress=lambda done, _: resumed.append(done)
    )

    assert written(files) == whole
    assert resumed[0] == 40
    assert len(json.loads(files.record.read_bytes())["starts"]) == 5


def test_a_process_killed_five_times_ends_with_the_same_bytes(
    small: Small, embedded: Path, tmp_path: Path
) -> None:
    whole = written(asked(small, "cue-conflict", prepared(embedded, tmp_path / "whole")))
    address = repr(small.client).split()[-1].rstrip(">")
    command = [sys.executable, "-m", "visual_memory_benchmarks", "run", "cue-conflict"]
    command += ["--server", address, "--memory", small.memory.name, "--data", str(small.data)]
    command += ["--out", str(tmp_path / "cut"), "-k", "5", "--batch", "2", "--maker", "lite0"]
    files = RunFiles.of(tmp_path / "cut", "cue-conflict", "lite0")

    for number in (2, 9, 17, 25, 33):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment())
        while not files.trials.exists() or files.trials.read_bytes().count(b"\n") < number:
            assert process.poll() is None
            time.sleep(0.002)  # or looking would take the processor from what is looked at
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment())

    assert written(files) == whole


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def test_a_server_that_restarts_in_the_middle_is_no_matter(
    start: Start, pictures: Path, embedded: Path, tmp_path: Path
) -> None:
    server = start()
    with visual_memory.connect(server.address) as client:
        small = Small(client, remember(client, pictures / "natural16"), pictures)
        whole = written(asked(small, "cue-conflict", prepared(embedded, tmp_path / "whole")))

        def restart() -> None:
            server.restart("--listen", server.address, number=signal.SIGKILL)

        files = asked(small, "cue-conflict", tmp_path / "cut", progress=at(16, restart))

    assert written(files) == whole


def test_a_server_that_is_gone_ends_a_run_that_goes_on_later(
    start: Start, pictures: Path, embedded: Path, tmp_path: Path
) -> None:
    server = start()
    with visual_memory.connect(server.address, timeout=3) as client:
        small = Small(client, remember(client, pictures / "natural16"), pictures)
        whole = written(asked(small, "cue-conflict", prepared(embedded, tmp_path / "whole")))

        with pytest.raises(RunStopped, match=r"16 of 48 questions are answered, and the same"):
            asked(small, "cue-conflict", tmp_path / "cut", progress=at(16, server.end))
        server.start("--listen", server.address)

    with visual_memory.connect(server.address) as client:
        files = asked(replace(small, client=client), "cue-conflict", tmp_path / "cut", SETTINGS)
    assert written(files) == whole


def test_a_memory_that_is_edited_during_a_run_stops_it_until_the_edit_is_undone(
    small: Small, embedded: Path, tmp_path: Path
) -> None:
    whole = written(asked(small, "cue-conflict", prepared(embedded, tmp_path / "whole")))
    prepared(embedded, tmp_path / "cut")
    id = next(small.memory.entries()).id
    label = small.memory.get(id).label

    with pytest.raises(MemoryChanged, match=r"was edited since the run began .* 16 of 48"):
        asked(
            small,
            "cue-conflict",
            tmp_path / "cut",
            progress=at(16, lambda: small.memory.update(id, label="truck")),
        )
    with pytest.raises(MemoryChanged):
        asked(small, "cue-conflict", tmp_path / "cut")
    small.memory.update(id, label=label)
    files = asked(small, "cue-conflict", tmp_path / "cut")

    assert written(files) == whole


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"k": 6}, "k was 5 and is 6"),
        ({"voting": "plurality"}, "voting was"),
        ({"seed": 1}, "seed"),
    ],
)
def test_a_run_under_other_conditions_is_not_mixed_with_what_is_there(
    change: dict[str, Any], difference: str, small: Small, embedded: Path, tmp_path: Path
) -> None:
    settings = replace(SETTINGS, limit=1)
    prepared(embedded, tmp_path)
    before = written(files := asked(small, "cue-conflict", tmp_path, settings))

    with pytest.raises(OtherRun, match=difference):
        asked(small, "cue-conflict", tmp_path, replace(settings, **change))

    assert written(files) == before


def test_answers_without_the_record_of_what_they_were_made_with_are_left_alone(
    small: Small, embedded: Path, tmp_path: Path
) -> None:
    settings = replace(SETTINGS, limit=1)
    files = asked(small, "cue-conflict", prepared(embedded, tmp_path), settings)
    rows = files.trials.read_bytes()
    files.record.unlink()

    with pytest.raises(BadFile, match="is not on record; remove all of that run"):
        asked(small, "cue-conflict", tmp_path, replace(settings, k=6))

    assert files.trials.read_bytes() == rows
    assert not files.record.exists()


def test_pictures_that_changed_since_are_another_run(
    small: Small, embedded: Path, tmp_path: Path
) -> None:
    asked(small, "cue-conflict", prepared(embedded, tmp_path))
    path = next((small.data / "cue_conflict").glob("*/*.png"))
    path.write_bytes(to_picture(1))

    with pytest.raises(OtherRun, match="data cue_conflict was"):
        asked(small, "cue-conflict", tmp_path)


def test_a_stimulus_that_does_not_decode_is_named(
    small: Small, embedded: Path, tmp_path: Path
) -> None:
    prepared(embedded, tmp_path)
    only(small, *FEW)
    (small.data / "cue_conflict/dog/bad.png").write_bytes(b"no picture")
    (small.data / "natural16/dog/bad.jpg").write_bytes(b"no picture")

    with pytest.raises(BadPicture, match=r"^The picture dog/bad\.png .*image"):
        asked(small, "cue-conflict", tmp_path)
    with pytest.raises(BadPicture, match=r"dog/bad\.jpg does not decode"):
        asked(small, "distortion:rotation", tmp_path)


def test_labels_that_are_no_categories_need_a_mapping(
    small: Small, embedded: Path, tmp_path: Path
) -> None:
    prepared(embedded, tmp_path)
    small.memory.insert(images=[to_picture(1), to_picture(2)], labels=["tabby", "laptop"])
    mapping = tmp_path / "labels.csv"
    mapping.write_text("label,category\ntabby,cat\nlaptop,na\n")

    with pytest.raises(UnmappedLabels, match="laptop, tabby"):
        asked(small, "cue-conflict", tmp_path)
    files = asked(small, "cue-conflict", tmp_path, replace(SETTINGS, mapping=mapping))

    parameters = json.loads(files.record.read_bytes())["parameters"]
    assert parameters["mapping"] == {"laptop": "na", "tabby": "cat"}


@pytest.mark.parametrize("name", ["folder", "distortion:rotation"])
def test_a_folder_called_as_no_answer_is_is_refused(
    name: str, small: Small, tmp_path: Path
) -> None:
    folder = small.data / "natural16"
    (folder / "dog").rename(folder / "na")

    with pytest.raises(BadTrials, match=r"'na' stands for no answer.* rename its folder"):
        asked(replace(small, data=folder), name, tmp_path / "out")

    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["folder", "distortion:rotation", "cue-conflict"])
def test_a_label_called_as_no_answer_is_needs_a_mapping(
    name: str, small: Small, tmp_path: Path
) -> None:
    only(small, *FEW)
    dogs = [entry.id for entry in small.memory.entries('label = "dog"')]
    small.memory.relabel(dict.fromkeys(dogs, "na"), apply=True)
    data = small.data / "natural16" if name == "folder" else small.data
    mapping = tmp_path / "labels.csv"
    mapping.write_text("label,category\nna,dog\n")
    settings = replace(SETTINGS, k=1, limit=1)

    with pytest.raises(UnmappedLabels, match=r"none of the categories: na\."):
        asked(replace(small, data=data), name, tmp_path / "out", settings)
    files = asked(replace(small, data=data), name, tmp_path, replace(settings, mapping=mapping))

    assert not (tmp_path / "out").exists()
    assert results(files)["no_answer"] == 0


def test_a_condition_called_as_a_set_without_conditions_has_it_is_refused(
    small: Small, tmp_path: Path
) -> None:
    for condition in ("all", "fog"):
        shutil.copytree(small.data / "natural16", small.data / "imagenet-c" / condition)

    with pytest.raises(BadTrials, match="'all' stands for no condition"):
        asked(small, "imagenet-c", tmp_path / "out")

    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("maker", ["subject-07", "people", ""])
def test_a_memory_is_not_called_as_people_are(maker: str, small: Small, tmp_path: Path) -> None:
    with pytest.raises(BadTrials, match=f"maker '{maker}'.*; choose another --maker"):
        run(
            small.client,
            small.memory.name,
            BENCHMARKS["cue-conflict"],
            data=small.data,
            out=tmp_path / "out",
            settings=replace(SETTINGS, maker=maker),
        )

    assert not (tmp_path / "out").exists()


def test_pictures_none_of_which_shows_a_label_are_not_asked_about(
    small: Small, tmp_path: Path
) -> None:
    for category in sorted((small.data / "natural16").iterdir()):
        category.rename(category.with_name(category.name.upper()))

    with pytest.raises(NothingToAnswer, match=r"show AIRPLANE, .* are airplane, .*--mapping"):
        asked(replace(small, data=small.data / "natural16"), "folder", tmp_path / "out")

    assert not (tmp_path / "out").exists()


def test_pictures_of_other_classes_are_asked_about_for_their_distances(
    small: Small, tmp_path: Path
) -> None:
    (small.data / "caltech20").rename(small.data / "ninco")

    files = asked(small, "ninco", tmp_path)

    assert results(files)["accuracy"]["value"] == 0
    assert results(files)["nearest_distance"]["mean"] > 0.1


def test_categories_that_no_label_stands_for_are_counted(
    small: Small, embedded: Path, tmp_path: Path
) -> None:
    prepared(embedded, tmp_path)
    small.memory.purge('label = "cat" OR label = "dog"', apply=True)

    files = asked(small, "cue-conflict", tmp_path)

    assert results(files)["without_label"] == {"cat": 3, "dog": 3}


def test_a_mapping_that_cannot_be_read_is_refused(small: Small, tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="cannot be read"):
        asked(small, "cue-conflict", tmp_path, replace(SETTINGS, mapping=tmp_path / "none.csv"))


def test_a_picture_that_the_memory_does_not_hold_is_none_of_its_own(
    small: Small, tmp_path: Path
) -> None:
    (small.data / "natural16/dog/other.png").write_bytes(to_picture(1))

    with pytest.raises(NotRemembered, match=r"dog/other\.png"):
        asked(small, "natural", tmp_path)


def test_without_the_library_of_parquet_nothing_is_asked(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(MissingExtra, match=r"pip install -e '\.\[parquet\]'"):
        asked(small, "edge", tmp_path / "out")

    assert not (tmp_path / "out").exists()


def test_pictures_are_embedded_once_for_all_runs(small: Small, tmp_path: Path) -> None:
    asked(small, "cue-conflict", tmp_path)
    (vectors,) = (tmp_path / ".vectors").iterdir()
    size = vectors.stat().st_size

    run(
        small.client,
        small.memory.name,
        BENCHMARKS["cue-conflict"],
        data=small.data,
        out=tmp_path,
        settings=Settings(k=1),
    )

    assert vectors.stat().st_size == size == 48 * (32 + 4 * 1280)


def test_a_memory_of_vectors_cannot_be_shown_pictures(small: Small, tmp_path: Path) -> None:
    memory = small.client.create_memory(f"{small.memory.name}v", dimension=4)
    memory.insert(vectors=[[1, 0, 0, 0]], labels=["cat"])

    with pytest.raises(CannotEmbed, match="takes vectors only"):
        asked(replace(small, memory=memory), "cue-conflict", tmp_path)


def test_two_pictures_of_one_name_are_refused(small: Small, tmp_path: Path) -> None:
    folder = small.data / "cue_conflict"
    (folder / "dog/airplane1-bicycle2.png").write_bytes(to_picture(1))

    with pytest.raises(BadTrials, match=r"2 pictures are called airplane1-bicycle2\.png"):
        asked(small, "cue-conflict", tmp_path)


def test_what_a_run_was_made_with_is_recorded(small: Small, tmp_path: Path) -> None:
    files = asked(only(small, *FEW), "natural", tmp_path)

    record = json.loads(files.record.read_bytes())
    info = small.memory.info()
    assert record["memory"]["digest"] == record["digest_after"] == info.digest
    assert record["memory"]["embedder"]["name"] == "efficientnet-lite0"
    assert record["parameters"] == {"k": 5, "voting": "rank", "limit": None, "mapping": {}}
    assert record["starts"][0]["server_version"] == small.client.server_info().version
    assert set(record["starts"][0]["packages"]) >= {"visual-memory", "numpy", "grpcio"}
    assert list(record["data"]) == ["natural16"]
    assert record["end_time"]
