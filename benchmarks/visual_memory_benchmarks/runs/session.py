"""The session of one run: answers in append-only files that survive a kill."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Self

from visual_memory_benchmarks.errors import BadFile
from visual_memory_benchmarks.files.file_lock import lock
from visual_memory_benchmarks.runs.task import Question
from visual_memory_benchmarks.trials.datasets import ALL
from visual_memory_benchmarks.trials.trial_files import HEADER, file_name

SESSION = 1


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: a category or ``na``, the winning label, its vote share, the nearest distance."""

    response: str
    label: str
    confidence: float
    distance: float


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The paths of a run of one decision maker; ``trials`` is named as by model-vs-human."""

    trials: Path
    answers: Path  # with the columns that the table does not have, and the same rows
    record: Path
    results: Path
    parquet: Path

    @classmethod
    def of(cls, out: Path, dataset: str, maker: str) -> RunFiles:
        """Return the paths of a run in the folder ``out``/DATASET; they need not exist."""
        stem = file_name(dataset, maker, SESSION).removesuffix(".csv")
        ends = ("csv", "answers.jsonl", "record.json", "results.json", "parquet")
        return cls(*(out / dataset / f"{stem}.{end}" for end in ends))


class Session:
    """The files of a run, the trials and the answers, to which rows are appended in question order.

    Answers already in them are kept; a last line that is cut short, or is in one of the two files
    only, is dropped. Raises OtherRun if another process writes, BadFile if the rows are not of
    these questions.
    """

    def __init__(self, files: RunFiles, maker: str, questions: Sequence[Question]) -> None:
        self._maker, self._questions = maker, questions
        files.trials.parent.mkdir(parents=True, exist_ok=True)
        self._trials = files.trials.open("a+b")
        self._answers = files.answers.open("a+b")
        try:
            lock(self._trials, files.trials)
            self.done = self._resume(files)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the lock, so that another process can resume."""
        self._trials.close()
        self._answers.close()

    def append(self, answers: Sequence[Answer]) -> None:
        """Append answers to the next questions; on disk when this returns."""
        queries = self._questions[self.done : self.done + len(answers)]
        rows = [
            self._row(self.done + at, question, answer)
            for at, (question, answer) in enumerate(zip(queries, answers, strict=True), start=1)
        ]
        lines = [
            json.dumps({"image": question.name} | asdict(answer), ensure_ascii=False)
            for question, answer in zip(queries, answers, strict=True)
        ]
        _add(self._answers, "".join(f"{line}\n" for line in lines))
        _add(self._trials, _csv(rows))
        self.done += len(answers)

    def answered(self) -> list[Answer]:
        """Return all answers so far."""
        self._answers.seek(0)
        values = [json.loads(line) for line in self._answers]
        return [Answer(**{key: each[key] for key in Answer.__slots__}) for each in values]

    def _row(self, number: int, question: Question, answer: Answer) -> list[str]:
        condition = "0" if question.condition == ALL else question.condition
        shown = question.stimulus.category
        identity = [self._maker, str(SESSION), str(number), "NaN"]
        return [*identity, answer.response, shown, condition, question.name]

    def _resume(self, files: RunFiles) -> int:
        """Truncate both files to the questions that both answer; return the number of these."""
        header, *rows = _whole_lines(self._trials) or [b""]
        if header and header.decode(errors="replace") != _csv([HEADER]):
            raise BadFile(files.trials, "it is no table of a run", "remove it")
        done = min(len(rows), len(_whole_lines(self._answers)))
        for at, row in enumerate(rows[:done]):
            if at >= len(self._questions) or not self._is_of(self._questions[at], row):
                problem = f"line {at + 2} is not of the picture that this run asks there"
                raise BadFile(files.trials, problem, "choose another --out, or remove it")
        _cut(self._trials, done + 1)
        _cut(self._answers, done)
        if not header:
            _add(self._trials, _csv([HEADER]))
        return done

    def _is_of(self, question: Question, row: bytes) -> bool:
        fields = next(csv.reader([row.decode(errors="replace")]), [])
        return (
            len(fields) == len(HEADER) and fields[0] == self._maker and fields[-1] == question.name
        )


def _csv(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _whole_lines(file: IO[bytes]) -> list[bytes]:
    file.seek(0)
    return [line for line in file if line.endswith(b"\n")]


def _cut(file: IO[bytes], lines: int) -> None:
    """Truncate a file to its first lines."""
    file.truncate(sum(map(len, _whole_lines(file)[:lines])))


def _add(file: IO[bytes], text: str) -> None:
    file.write(text.encode())
    file.flush()
    os.fsync(file.fileno())
