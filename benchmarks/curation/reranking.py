"""Accuracy with a re-ranker, and the effect of a dead or slow one on calls."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from served import QUIET, folder, served, started
from taxonomy import EMBEDDER, data_folder, pictures

import visual_memory
from visual_memory import Memory
from visual_memory_benchmarks.laboratory import questions

KS = (10, 50)
SECONDS = 2.0


def accuracy(memory: Memory, name: str, files: Sequence[Path], labels: Sequence[str]) -> None:
    """Print accuracy without and with re-ranker ``name``, and their difference's 95 % interval."""
    ids = [f"{number:05}" for number in range(len(files))]
    memory.insert(images=files, labels=labels, ids=ids)
    for k in KS:
        how: dict[str, Any] = {"images": files, "k": k, "rerank_seconds": 60}
        plain = questions.classify_by_others(memory, ids, reranker="none", **how)
        began = time.perf_counter()
        decisions = questions.classify_by_others(memory, ids, reranker="crops", **how)
        seconds = (time.perf_counter() - began) / len(files)
        assert all(each.reranking and each.reranking.applied for each in decisions)
        before, after = (
            (questions.labels(each) == np.array(labels)).astype(float)
            for each in (plain, decisions)
        )
        gained = after - before
        half = 1.96 * gained.std(ddof=1) / len(gained) ** 0.5
        print(
            f"{name:10} {k:3}  {before.mean():.4f}  {after.mean():.4f}"
            f"  {gained.mean():+.4f} ± {half:.4f}  {1000 * seconds:6.0f}"
        )


def endure(memory: Memory, files: Sequence[Path], pid: int) -> None:
    """Classify with the re-ranker (process ``pid``) stopped, resumed and killed.

    Print, for each, the outcomes and the longest call.
    """
    trials = (
        ("stopped (SIGSTOP)", signal.SIGSTOP),
        ("going on", signal.SIGCONT),
        ("killed (SIGKILL)", signal.SIGKILL),
    )
    plain = [memory.classify(images=[file], reranker="none")[0].label for file in files]
    for name, number in trials:
        os.kill(pid, number)
        seconds, applied, same, problems = [], 0, 0, set[str]()
        for file, label in zip(files, plain, strict=True):
            began = time.perf_counter()
            (decision,) = memory.classify(images=[file], reranker="crops", rerank_seconds=SECONDS)
            seconds.append(time.perf_counter() - began)
            assert decision.reranking is not None
            applied += decision.reranking.applied
            same += decision.label == label
            problems |= {decision.reranking.problem} - {""}
        said = f"; of the others: {sorted(problems)[0]}" if problems else ""
        print(
            f"{name}: {applied} of {len(files)} re-ranked, {same} with the plain label, longest"
            f" call {max(seconds):.2f} s with {SECONDS:g} s to re-rank{said}"
        )


def main() -> None:
    data = data_folder(__doc__)
    with (
        folder() as work,
        started("reranker", "crops", "--graph-cache", str(work), *QUIET) as reranker,
        served(work / "data", "--reranker", f"crops={reranker.address}") as server,
        visual_memory.connect(server.address, timeout=120) as client,
    ):
        print(
            f"Leave-one-out by {EMBEDDER}, rank votes, without and with `reranker crops`"
            " (efficientnet-lite2);\nms are of one call with one picture, with all candidates"
            " known to the re-ranker but the first times."
        )
        print("pictures     k  without    with  difference         ms")
        for name in ("natural16", "caltech20"):
            memory = client.create_memory(name, embedder=EMBEDDER, store_images=True)
            files, labels = pictures(data / name)
            accuracy(memory, name, files, labels)
        files, _ = pictures(data / "natural16")
        endure(client.memory("natural16"), files[:10], reranker.pid)


if __name__ == "__main__":
    main()
