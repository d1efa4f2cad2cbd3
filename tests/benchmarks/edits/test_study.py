from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest
from tests.benchmarks.edits.made import to_kinds, to_material
from tests.conftest import Server, Start

import visual_memory
from visual_memory_benchmarks.edits.protocol import Protocol
from visual_memory_benchmarks.edits.study import run
from visual_memory_benchmarks.errors import CannotSplit, OtherRun
from visual_memory_benchmarks.files.file_lock import lock

WORLD = to_material()
PROTOCOL = Protocol(
    seeds=3,
    ks=(3,),
    resamples=1000,
    kinds=to_kinds(silhouettes=[1, 2], cue_conflict=[1, 2], misleading=[0.2], halving=[1]),
)
STATES = 1 + 6 + 4 + 2  # before, edits, additions under right and wrong labels, removals
KILLED_AFTER = 17

KILLED = f"""
import os, signal, sys
from pathlib import Path
import visual_memory
from tests.benchmarks.edits.test_study import PROTOCOL, WORLD
from visual_memory_benchmarks.edits.study import run

told = []

def progress(text):
    told.append(text)
    if len(told) > {KILLED_AFTER}:
        os.kill(os.getpid(), signal.SIGKILL)

with visual_memory.connect(sys.argv[1]) as client:
    run(client, WORLD, PROTOCOL, Path(sys.argv[2]), progress)
"""


@pytest.fixture(scope="module")
def result(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run the study on the generated world."""
    with visual_memory.connect(server.address) as client:
        return run(client, WORLD, PROTOCOL, tmp_path_factory.mktemp("edits") / "edits.jsonl")


def contrast(result: dict[str, Any], kind: str, dose: float, outcome: str) -> dict[str, Any]:
    wanted = {"kind": kind, "dose": dose, "outcome": outcome}
    found: dict[str, Any]
    [found] = [row for row in result["contrasts"] if wanted.items() <= row.items()]
    return found


def test_pictures_that_conflict_turn_a_memory_of_textures_to_shape(result: dict[str, Any]) -> None:
    found = contrast(result, "cue-conflict", 2, "shape_bias")

    assert found["control"] == 0
    assert found["difference"]["low"] > 0.5
    assert found["p_holm"] < 0.05


def test_silhouettes_far_from_all_that_is_asked_change_no_shape_bias(
    result: dict[str, Any],
) -> None:
    found = contrast(result, "silhouettes", 2, "shape_bias")

    assert found["difference"] == {"value": 0, "low": 0, "high": 0}
    assert found["p_holm"] == 1


def test_no_edit_of_this_world_changes_what_photographs_are(result: dict[str, Any]) -> None:
    for row in result["contrasts"]:
        if row["outcome"] == "natural_accuracy":
            assert row["difference"]["value"] == 0


def test_nothing_is_left_on_the_server(
    client: visual_memory.Client, result: dict[str, Any]
) -> None:
    assert not [each.name for each in client.memories() if each.name.startswith("edits-")]


def test_equal_states_have_equal_digests_and_others_have_others(result: dict[str, Any]) -> None:
    digests = {(each["seed"], each["kind"], each["dose"]): each for each in result["states"]}

    assert len({each["digest"] for each in digests.values()}) == len(digests)


def test_a_study_that_was_killed_goes_on_and_says_the_same(
    server: Server, client: visual_memory.Client, result: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "edits.jsonl"
    killed = subprocess.run([sys.executable, "-c", KILLED, server.address, str(path)], check=False)
    kept = path.read_text().splitlines()[1:]
    told: list[str] = []

    again = run(client, WORLD, PROTOCOL, path, told.append)

    assert killed.returncode == -SIGKILL
    assert len(kept) == KILLED_AFTER
    assert len(told) == PROTOCOL.seeds * STATES - KILLED_AFTER + 1
    assert again == result
    assert not [each.name for each in client.memories() if each.name.startswith("edits-")]


def test_the_error_that_ends_a_study_is_raised_where_the_server_is_gone(
    start: Start, tmp_path: Path
) -> None:
    server = start()
    small = Protocol(seeds=1, ks=(3,), resamples=10, kinds=to_kinds(edges=[1]))
    told: list[str] = []

    def leave(text: str) -> None:
        told.append(text)
        if len(told) == 2:
            server.end(SIGKILL)
            raise OSError("the disk is gone, too")

    with (
        visual_memory.connect(server.address, timeout=2) as client,
        pytest.raises(OSError, match="the disk is gone, too"),
    ):
        run(client, WORLD, small, tmp_path / "edits.jsonl", leave)


def test_one_process_at_a_time_studies(client: visual_memory.Client, tmp_path: Path) -> None:
    path = tmp_path / "edits.jsonl"
    small = Protocol(seeds=2, ks=(3,), resamples=10, kinds=to_kinds(edges=[1]))

    with path.open("a") as file:
        lock(file, path)
        with pytest.raises(OtherRun, match="another process is writing it"):
            run(client, WORLD, small, path)

    assert path.read_bytes() == b""


def test_a_finished_study_asks_nothing_and_says_the_same(
    client: visual_memory.Client, tmp_path: Path
) -> None:
    small = Protocol(seeds=2, ks=(3,), resamples=10, kinds=to_kinds(edges=[1]))
    first = run(client, WORLD, small, tmp_path / "edits.jsonl")
    told: list[str] = []

    again = run(client, WORLD, small, tmp_path / "edits.jsonl", told.append)

    assert told == ["statistics"]
    assert again == first


def test_more_seeds_go_on_with_what_is_there(client: visual_memory.Client, tmp_path: Path) -> None:
    kinds = to_kinds(edges=[1])
    run(client, WORLD, Protocol(1, (3,), 10, kinds), tmp_path / "edits.jsonl")
    told: list[str] = []

    more = run(client, WORLD, Protocol(2, (3,), 10, kinds), tmp_path / "edits.jsonl", told.append)

    assert all(text == "statistics" or text.startswith("seed 2 of 2") for text in told)
    assert more == run(client, WORLD, Protocol(2, (3,), 10, kinds), tmp_path / "anew.jsonl")


def test_other_material_does_not_go_on_with_these_records(
    client: visual_memory.Client, tmp_path: Path
) -> None:
    small = Protocol(1, (3,), 10, to_kinds(edges=[1]))
    run(client, WORLD, small, tmp_path / "edits.jsonl")

    with pytest.raises(OtherRun, match="material_sha256"):
        run(client, to_material(seed=1), small, tmp_path / "edits.jsonl")


def test_too_few_pictures_are_refused_before_anything_is_asked(
    client: visual_memory.Client, tmp_path: Path
) -> None:
    with pytest.raises(CannotSplit):
        run(client, WORLD, Protocol(kinds=to_kinds(edges=[9])), tmp_path / "edits.jsonl")

    assert not (tmp_path / "edits.jsonl").exists()
