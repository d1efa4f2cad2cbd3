"""Generated trials and folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from visual_memory_benchmarks.trials.datasets import DATASETS, Dataset
from visual_memory_benchmarks.trials.trials import COLUMNS, Trials

HEADER = "subj,session,trial,rt,object_response,category,condition,imagename"


def to_trials(
    answers: Mapping[str, Sequence[str]],
    shown: Sequence[str],
    *,
    names: Sequence[str] = (),
    dataset: Dataset = DATASETS["edge"],
    condition: str = "all",
) -> Trials:
    """Make trials of each decision maker on the pictures shown, in one condition."""
    names = names or [f"{category}{number}.png" for number, category in enumerate(shown)]
    m, n = len(answers), len(shown)
    return Trials(
        dataset=dataset,
        makers=np.repeat(list(answers), n),
        sessions=np.ones(m * n, np.int64),
        numbers=np.tile(np.arange(1, n + 1), m),
        seconds=np.full(m * n, np.nan),
        responses=np.concatenate([np.array(each, np.str_) for each in answers.values()]),
        categories=np.tile(np.array(shown, np.str_), m),
        conditions=np.full(m * n, condition),
        names=np.tile(np.array(names, np.str_), m),
    )


def joined(parts: Sequence[Trials]) -> Trials:
    """Concatenate at least one part, all of one dataset."""
    assert {part.dataset for part in parts} == {parts[0].dataset}
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS}
    return Trials(parts[0].dataset, **columns)


def row(
    maker: str = "lite0",
    response: str = "cat",
    category: str = "cat",
    condition: str = "0",
    image: str = "0001_edg_dnn_0_cat_00_cat1.png",
    *,
    session: str = "1",
    number: str = "1",
    seconds: str = "NaN",
) -> str:
    """Format a row of a trial table."""
    return ",".join([maker, session, number, seconds, response, category, condition, image])


def to_folder(folder: Path, *files: str) -> Path:
    """Create files whose content is their own path, and return the folder."""
    for file in files:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.encode())
    return folder
