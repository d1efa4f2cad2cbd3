"""The votes of Geirhos et al., 2024 (arXiv 2408.08172), asked of a real server."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.conftest import RemoteMemory, to_vectors

from visual_memory.v1 import service_pb2 as pb

if TYPE_CHECKING:
    from tests.conftest import Server

RULES = ["plurality", "distance", "softmax", "rank"]


@pytest.fixture(scope="module")
def cases(shared: Path) -> dict[str, Any]:
    """The cases without reliabilities, and without an exclusion that is not refilled."""
    golden = json.loads((shared / "spec" / "golden_voting.json").read_text())["cases"]
    return {case["name"]: case for case in golden if not {"v", "excluded_ids"} & set(case)}


@pytest.fixture(scope="module")
def remembered(server: Server, cases: dict[str, Any]) -> dict[str, RemoteMemory]:
    """A memory for each case, with entries at its distances from the first axis."""
    remembered = {}
    for name, case in cases.items():
        remembered[name] = RemoteMemory(server, f"m{uuid.uuid4().hex}")
        server.stub.CreateMemory(pb.CreateMemoryRequest(name=remembered[name].name, dimension=2))
        angles = np.arccos(1 - np.array(case["distances"]))
        rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        ids = [f"{id:04}" for id in case["ids"]]
        remembered[name].insert(rows, ids, [str(label) for label in case["labels"]])
    return remembered


def ask(pets: RemoteMemory, k: int, rule: str) -> Any:
    request = pb.ClassifyRequest(memory=pets.name, vectors=to_vectors([1, 0]), k=k, voting=rule)
    return pets.stub.Classify(request).decisions[0]


@pytest.mark.parametrize("rule", RULES)
def test_every_case_is_decided_as_in_the_paper_for_every_k(
    rule: str, cases: dict[str, Any], remembered: dict[str, RemoteMemory]
) -> None:
    assert len(cases) == 11
    for name, case in cases.items():
        ks = range(1, len(case["labels"]) + 1)
        decided = [ask(remembered[name], k, rule).label for k in ks]

        assert decided == [str(label) for label in case["expected"][rule]], name


@pytest.mark.parametrize("rule", RULES)
def test_the_scores_are_the_totals_of_the_paper(
    rule: str, cases: dict[str, Any], remembered: dict[str, RemoteMemory]
) -> None:
    for name, case in cases.items():
        decision = ask(remembered[name], len(case["labels"]), rule)

        scores = {each.label: each.score for each in decision.scores}
        assert scores == pytest.approx(case["final_totals"][rule], rel=1e-6), name


def test_the_neighbours_are_those_of_the_paper(
    cases: dict[str, Any], remembered: dict[str, RemoteMemory]
) -> None:
    for name, case in cases.items():
        near = ask(remembered[name], 50, "rank").neighbors

        assert [each.id for each in near] == [f"{id:04}" for id in case["ids"]], name
        assert [each.distance for each in near] == pytest.approx(case["distances"], abs=1e-7)
