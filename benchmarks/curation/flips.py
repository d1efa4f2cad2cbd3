"""The smallest flips of decisions on natural16: how many are proven, how large, and how soon."""

from __future__ import annotations

import time

import numpy as np
from served import own_client
from taxonomy import EMBEDDER, Vectors, data_folder, pictures

from visual_memory import Memory
from visual_memory.options import VOTINGS, Voting

K = 50
QUERIES = 200
SEARCH_SECONDS = 5.0


def flips(memory: Memory, vectors: Vectors, ids: list[str], voting: Voting) -> None:
    """Find the fewest entries whose removal flips each decision; print a row for ``voting``.

    The entry of a picture itself, of ``ids``, does not vote. The row has the numbers of flips that
    are proven minimal and that hold when classified again, then sizes and times.
    """
    proven = held = 0
    sizes, seconds = [], []
    for vector, id in zip(vectors, ids, strict=True):
        began = time.perf_counter()
        why = memory.explain(
            vectors=vector[np.newaxis],
            k=K,
            voting=voting,
            exclude_ids=[id],
            search_seconds=SEARCH_SECONDS,
        )
        seconds.append(time.perf_counter() - began)
        flip = why.minimal_flip or []
        left = memory.classify(
            vectors=vector[np.newaxis], k=K, voting=voting, exclude_ids=[id, *flip]
        )
        sizes.append(len(flip))
        proven += why.proven_minimal
        held += left[0].label == why.flipped_label != why.before.label
    print(
        f"{voting:10} {proven:6} {held:6}  {np.median(sizes):11g} {max(sizes):7}"
        f"  {1000 * np.median(seconds):9.0f} {1000 * max(seconds):7.0f}"
    )


def main() -> None:
    data = data_folder(__doc__)
    with own_client() as client:
        files, labels = pictures(data / "natural16")
        memory = client.create_memory("natural16", embedder=EMBEDDER)
        vectors = memory.embed(files)
        ids = [f"{number:05}" for number in range(len(files))]
        memory.insert(vectors=vectors, labels=labels, ids=ids)
        queries = np.arange(QUERIES) * len(files) // QUERIES
        print(
            f"natural16 by {EMBEDDER}: {QUERIES} of {len(files)} entries, evenly spaced, asked of"
            f" all others;\nk = {K}, at most {SEARCH_SECONDS:g} s to look for a flip. Held: without"
            " the flip, Classify gives the label foretold.\n"
            "Times are those of one ExplainDecision as the client sees it."
        )
        print("voting     proven   held  median size largest  median ms largest")
        for voting in VOTINGS:
            flips(memory, vectors[queries], [ids[at] for at in queries], voting)


if __name__ == "__main__":
    main()
