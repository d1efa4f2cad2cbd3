"""A run of one benchmark on one memory: questions in; trials, record and results out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visual_memory import Client, DeadlineExceeded, Memory, Unavailable
from visual_memory.options import Voting
from visual_memory.terminal.refused import listed
from visual_memory.types import Decision
from visual_memory_benchmarks.errors import (
    BadFile,
    BadTrials,
    MemoryChanged,
    NothingToAnswer,
    RunStopped,
)
from visual_memory_benchmarks.files import record
from visual_memory_benchmarks.files.record import Record
from visual_memory_benchmarks.metrics.bootstrap import Resampling
from visual_memory_benchmarks.runs.benchmarks import Benchmark
from visual_memory_benchmarks.runs.responses import Responder
from visual_memory_benchmarks.runs.results import Json, results
from visual_memory_benchmarks.runs.session import Answer, RunFiles, Session
from visual_memory_benchmarks.runs.task import Question, Task
from visual_memory_benchmarks.runs.tasks import TaskInputs
from visual_memory_benchmarks.stimuli.embeddings import MemoryEmbeddings
from visual_memory_benchmarks.stimuli.remembered import Remembered
from visual_memory_benchmarks.trials import mapping, trial_files
from visual_memory_benchmarks.trials.datasets import ALL, NO_ANSWER
from visual_memory_benchmarks.trials.trials import PEOPLE, image_id, is_person

VECTORS = ".vectors"
BATCH = 64
WORKERS = 4  # pictures made, and single questions sent, at a time

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """Parameters of a run; ``maker`` is the decision maker's name, ``batch`` changes no answer.

    ``mapping`` is a CSV file that gives labels of the memory a category, or ``na`` to leave their
    votes out.
    """

    k: int = 50
    voting: Voting = "rank"
    limit: int | None = None
    seed: int = 0
    maker: str | None = None
    mapping: Path | None = None
    batch: int = BATCH

    def name(self, memory: str) -> str:
        """Return the name of the decision maker: ``maker`` or, if None, memory, voting and k."""
        return f"{memory}-{self.voting}-k{self.k}" if self.maker is None else self.maker


def run(
    client: Client,
    memory: str,
    benchmark: Benchmark,
    *,
    data: Path,
    out: Path,
    settings: Settings,
    progress: Progress = lambda done, total: None,
) -> RunFiles:
    """Have a memory answer the unanswered questions of a benchmark, and write the results.

    ``progress`` is called with the number of questions answered and in all. Raises BenchmarkRefusal
    and visual_memory.Error; all answers so far are kept, and the same call resumes.
    """
    trial_files.pyarrow_library()  # if missing, refused before the first question
    found = client.memory(memory)
    info = found.info()
    remembered = Remembered.of(found)
    task = benchmark.task(TaskInputs(data, memory, remembered, settings.limit, settings.seed))
    check_names(task)
    categories = task.dataset.categories
    given = mapping.read(settings.mapping, (*categories, NO_ANSWER)) if settings.mapping else {}
    meant = mapping.complete(info.labels, given, categories)
    lacking = {} if task.strange else without_label(task, meant)
    if meant and sum(lacking.values()) == len(task.questions):
        raise NothingToAnswer(
            f"The memory {memory} can get none of the pictures right: they show {listed(lacking)}, "
            f"and its labels are {listed(sorted(meant))}. Give the folder that has a folder for "
            "each label with --data, or say with --mapping FILE.csv what its labels stand for."
        )
    maker = settings.name(memory)
    check_maker(maker)
    embeddings = MemoryEmbeddings(found, None if task.made else out / VECTORS)
    files = RunFiles.of(out, task.dataset.name, maker)
    begun = Record(
        benchmark=benchmark.name,
        maker=maker,
        memory=record.describe_memory(info),
        parameters={
            "k": settings.k,
            "voting": settings.voting,
            "limit": settings.limit,
            "mapping": dict(sorted(given.items())),
        },
        seed=settings.seed,
        data=dict(task.data),
        questions=len(task.questions),
        starts=(record.start(client.server_info()),),
    )
    begun = begun.resumed(files.record)
    with Session(files, maker, task.questions) as session:
        if session.done and not files.record.exists():
            problem = "what it was made with is not on record"
            raise BadFile(files.trials, problem, "remove all of that run, or choose another --out")
        begun.write(files.record)
        evaluator = Evaluator(found, task, embeddings, remembered, Responder(meant), settings)
        evaluator.answer(session, begun.digest, progress)
        finish(files, task, session.answered(), begun, settings, lacking)
        begun.ended().write(files.record)
    return files


@dataclass(frozen=True, slots=True, eq=False)
class Evaluator:
    """A memory and a task, with all that is needed to answer the task's questions."""

    memory: Memory
    task: Task
    embeddings: MemoryEmbeddings
    remembered: Remembered
    responder: Responder
    settings: Settings

    def answer(self, session: Session, digest: str, progress: Progress) -> None:
        """Answer a session's unanswered questions by a memory that has ``digest`` throughout.

        Raises MemoryChanged if the memory was edited, RunStopped if the server is unreachable;
        answers of the batch at hand are then not written.
        """
        questions, size = self.task.questions, self.settings.batch
        total = len(questions)
        try:
            self._check(digest, session.done)
            progress(session.done, total)
            with ThreadPoolExecutor(WORKERS) as workers:
                while batch := questions[session.done : session.done + size]:
                    decisions = self._decide(batch, workers)
                    self._check(digest, session.done)
                    session.append([self._answered(each) for each in decisions])
                    progress(session.done, total)
        except (Unavailable, DeadlineExceeded) as error:
            raise RunStopped(
                f"{error} {session.done:,} of {total:,} questions are answered, and the same "
                "command goes on."
            ) from None

    def _check(self, digest: str, done: int) -> None:
        now = self.memory.info().digest
        if now != digest:
            kept = f"{done:,} of {len(self.task.questions):,} questions were answered before"
            raise MemoryChanged(self.memory.name, digest, now, kept)

    def _decide(self, batch: Sequence[Question], workers: ThreadPoolExecutor) -> list[Decision]:
        """Classify a batch, in order. A picture in the memory is sent alone, and does not vote."""
        shown = list(workers.map(self.task.show, batch))
        vectors = self.embeddings.of(shown, [each.stimulus.file for each in batch])
        without = [self.remembered.same(each.stimulus, own=self.task.own) for each in batch]
        together = [at for at, ids in enumerate(without) if not ids]
        alone = [at for at, ids in enumerate(without) if ids]
        found: dict[int, Decision] = {}
        if together:
            found |= zip(together, self._classify(vectors[together]), strict=True)
        singles = workers.map(lambda at: self._classify(vectors[[at]], without[at]), alone)
        found |= {at: decision for at, (decision,) in zip(alone, singles, strict=True)}
        return [found[at] for at in range(len(batch))]

    def _classify(
        self, vectors: NDArray[np.float32], without: Sequence[str] = ()
    ) -> list[Decision]:
        return self.memory.classify(
            vectors=vectors,
            k=self.settings.k,
            voting=self.settings.voting,
            exclude_ids=without,
            neighbors=1,
            reranker="none",
        )

    def _answered(self, decision: Decision) -> Answer:
        return Answer(
            self.responder.respond(decision.scores),
            decision.label,
            decision.confidence,
            float(decision.neighbors.distances[0]),
        )


def check_maker(maker: str) -> None:
    """Check that a memory's name makes a file name and is none of people. Raises BadTrials."""
    problem = ""
    if not trial_files.NAME.fullmatch(maker):
        problem = "its name makes no file name"
    elif is_person(maker.lower()) or maker == PEOPLE:
        problem = "tables of trials call people so"
    if problem:
        raise BadTrials(f"the maker {maker!r}", problem, "choose another --maker")


def check_names(task: Task) -> None:
    """Check that a table can hold the names, categories and conditions. Raises BadTrials."""
    if any(each.stimulus.category == NO_ANSWER for each in task.questions):
        problem = f"{NO_ANSWER!r} stands for no answer in tables, and a category is called so"
        remedy = "rename its folder, and give with --mapping its new name to a label called so"
        raise BadTrials(task.dataset.name, problem, remedy)
    if ALL in task.dataset.conditions and len(task.dataset.conditions) > 1:
        problem = f"{ALL!r} stands for no condition in tables, and one of several is called so"
        raise BadTrials(task.dataset.name, problem, "rename its folder")
    texts = {each.name for each in task.questions} | set(task.dataset.categories)
    if broken := sorted(text for text in texts if {"\n", "\r"} & set(text)):
        problem = f"{broken[0]!r} has a line break in it"
        raise BadTrials(task.dataset.name, problem, "rename the picture or the label")
    names = Counter((each.condition, image_id(each.name)) for each in task.questions)
    for (condition, image), count in names.most_common(1):
        if count > 1:
            raise BadTrials(
                f"{task.dataset.name}, condition {condition}",
                f"{count} pictures are called {image}",
                "rename them so that tables can tell them apart",
            )


def without_label(task: Task, meant: Mapping[str, str]) -> dict[str, int]:
    """Count the questions of each category that no label of the memory maps to.

    ``meant`` maps each label to a category.
    """
    shown = Counter(each.stimulus.category for each in task.questions)
    return {each: shown[each] for each in sorted(shown.keys() - set(meant.values()))}


def finish(
    files: RunFiles,
    task: Task,
    answers: Sequence[Answer],
    begun: Record,
    settings: Settings,
    lacking: Mapping[str, int],
) -> None:
    """Write the result of a run as JSON, and its trials as Parquet.

    ``begun`` is the run's record; ``lacking`` counts questions whose category no label maps to.
    """
    trials = trial_files.read([files.trials], task.dataset)
    value: Json = {
        "benchmark": begun.benchmark,
        "maker": begun.maker,
        "digest": begun.digest,
        "note": task.note,
        "without_label": dict(lacking),
        **results(trials, answers, Resampling(seed=settings.seed)),
    }
    record.write_json(files.results, value)
    trial_files.write_parquet(files.parquet, trials)
