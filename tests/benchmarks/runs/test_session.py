from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import pytest

from visual_memory_benchmarks.errors import BadFile, OtherRun
from visual_memory_benchmarks.runs.session import Answer, RunFiles, Session
from visual_memory_benchmarks.runs.task import Question, table_name
from visual_memory_benchmarks.stimuli.stimuli import Stimulus
from visual_memory_benchmarks.trials import trial_files
from visual_memory_benchmarks.trials.datasets import DATASETS

ANSWERS = [
    Answer("cat", "tabby", 0.1 + 0.2, 1e-9),
    Answer("na", "sofa", 1.0, 0.25),
    Answer("dog", 'pug, "x"', 0.5, 2.0),
]
QUESTIONS = [
    Question(
        table_name(number, "edg", "all", "cat", f"cat{number}.png"),
        "all",
        Stimulus(f"cat/cat{number}.png", "cat", "", MappingProxyType({})),
    )
    for number in (1, 2, 3)
]


@pytest.fixture
def files(tmp_path: Path) -> RunFiles:
    return RunFiles.of(tmp_path, "edge", "lite0")


def opened(files: RunFiles) -> Session:
    return Session(files, "lite0", QUESTIONS)


def whole(files: RunFiles) -> tuple[bytes, bytes]:
    with opened(files) as session:
        session.append(ANSWERS[session.done :])
    return files.trials.read_bytes(), files.answers.read_bytes()


def test_answers_are_rows_of_the_table_and_come_back(files: RunFiles) -> None:
    with opened(files) as session:
        session.append(ANSWERS[:2])
        session.append(ANSWERS[2:])

        assert session.answered() == ANSWERS
    trials = trial_files.read([files.trials], DATASETS["edge"])
    assert trials.responses.tolist() == ["cat", "na", "dog"]
    assert trials.numbers.tolist() == [1, 2, 3]
    assert trials.images.tolist() == ["cat1.png", "cat2.png", "cat3.png"]


def test_cut_anywhere_both_files_end_as_if_never_cut(files: RunFiles) -> None:
    trials, answers = whole(files)

    for length in range(0, len(trials), 7):
        files.trials.write_bytes(trials[:length])
        files.answers.write_bytes(answers)
        assert whole(files) == (trials, answers)
    for length in range(0, len(answers), 7):
        files.trials.write_bytes(trials)
        files.answers.write_bytes(answers[:length])
        assert whole(files) == (trials, answers)


def test_what_is_answered_is_known(files: RunFiles) -> None:
    with opened(files) as session:
        session.append(ANSWERS[:2])
    files.trials.write_bytes(files.trials.read_bytes() + b"lite0,1,3,Na")

    with opened(files) as session:
        assert session.done == 2


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (b"_cat2.png", b"_cat9.png", "line 3 is not of the picture"),
        (b"lite0,1,1", b"lite1,1,1", "line 2 is not of the picture"),
        (b"subj,", b"who,", "no table of a run"),
    ],
)
def test_a_table_of_something_else_is_left_alone(
    old: bytes, new: bytes, sentence: str, files: RunFiles
) -> None:
    trials, _ = whole(files)
    files.trials.write_bytes(trials.replace(old, new))

    with pytest.raises(BadFile, match=sentence):
        opened(files)

    assert files.trials.read_bytes() == trials.replace(old, new)


def test_one_process_at_a_time_writes(files: RunFiles) -> None:
    with opened(files), pytest.raises(OtherRun, match="another process is writing it"):
        opened(files)
    with opened(files):
        pass
