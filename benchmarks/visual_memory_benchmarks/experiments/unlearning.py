"""Unlearning: does an unlearned class leave anything behind?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial

import numpy as np

from visual_memory_benchmarks.laboratory import intervals, questions
from visual_memory_benchmarks.laboratory.experiment import Experiment
from visual_memory_benchmarks.laboratory.gallery import Gallery, joined
from visual_memory_benchmarks.laboratory.intervals import over_pictures
from visual_memory_benchmarks.laboratory.laboratory import Laboratory
from visual_memory_benchmarks.laboratory.result import Row, Tables

MEMORY, ASKED = "natural16", ("edges", "filled_silhouettes")
CALLED = 3  # the commonest labels


@partial(
    Experiment,
    "Unlearning a class: the same digest and decisions as if it had never been learnt",
    papers=(8,),
    data=(MEMORY, *ASKED),
    intervals=intervals.PICTURES,
    comparison=(
        "The paper deletes exactly, as does this; it has no certificate. Networks that unlearn "
        "approximately are compared by forgetting scores, which are without meaning here."
    ),
)
def unlearning(
    laboratory: Laboratory, *, labels: Sequence[str] | None = None, k: int = 50
) -> Tables:
    """Unlearn a label, and compare with a memory that never held it.

    Decisions are compared with all their neighbours, distances and weights. Without ``labels``,
    each label is unlearned in turn.
    """
    gallery = laboratory.gallery(MEMORY)
    queries = joined([gallery, *map(laboratory.gallery, ASKED)])
    chosen = np.unique(gallery.labels).tolist() if labels is None else list(labels)
    return {"classes": [_unlearnt(laboratory, gallery, queries, label, k) for label in chosen]}


def _unlearnt(
    laboratory: Laboratory, gallery: Gallery, queries: Gallery, label: str, k: int
) -> Row:
    member = gallery.labels == label
    never = laboratory.memory(f"never held {label}", gallery.at(~member))
    memory = laboratory.memory("all", gallery)
    ids = gallery.ids[member].tolist()
    certificate = memory.unlearn(ids=ids)
    verified = laboratory.client.verify(certificate, memory=memory.name)
    digest = laboratory.note(f"unlearnt {label}", memory)
    after, before = (
        questions.classify(each, queries, k=k, neighbors=None) for each in (memory, never)
    )
    called = questions.labels(questions.classify(memory, gallery.at(member), k=k))
    return {
        "label": label,
        "entries": len(ids),
        "same_digest": digest == laboratory.states[f"never held {label}"],
        "decisions": len(queries),
        "other_decisions": sum(one != other for one, other in zip(after, before, strict=True)),
        "certified": verified.trusted is True and verified.count == len(ids),
        "named_by_certificate": all(map(verified.holds, ids)),
        "still_called": over_pictures(called == label),
        "called": dict(Counter(called.tolist()).most_common(CALLED)),
    }
