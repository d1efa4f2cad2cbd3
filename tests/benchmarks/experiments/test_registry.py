"""Properties of every experiment."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.benchmarks.experiments.made import Cellular

import visual_memory
from visual_memory_benchmarks.errors import MissingData
from visual_memory_benchmarks.experiments import EXPERIMENTS
from visual_memory_benchmarks.laboratory.result import plain
from visual_memory_benchmarks.stimuli.embeddings import Embeddings
from visual_memory_benchmarks.stimuli.stimuli import StimulusSet, load

SMALL: Mapping[str, Mapping[str, Any]] = {
    "votings": {"ks": (1, 10), "fixed_ks": (10,), "seeds": 2, "left_out_ks": (1,)},
    "class_addition": {"exemplars": (1, 2), "ks": (5,), "seeds": 2},
    "scaling": {"sizes": (4, 8, 16), "ks": (1,), "seeds": 2},
    "label_noise": {"shares": (0.0, 0.4), "k": 10, "count_k": 5, "threshold": 3, "seeds": 2},
    "pruning": {"fractions": (0.5,), "thresholds": (2,), "count_k": 5, "k": 5, "seeds": 2},
    "open_set": {"neighbors": (1, 5), "k": 5},
    "calibration": {"coverages": (0.8,), "k": 5, "seeds": 2},
    "unlearning": {"labels": ("bird",), "k": 5},
    "embedders": {"ks": (5,)},
    "shortcut": {"sides": (32,), "k": 5},
    "augmentation": {"levels": {"colour": "bw", "contrast": "c10"}, "k": 5},
    "steering": {"doses": (1,), "k": 3, "seeds": 2},
    "triplets": {},
    "dichotomy": {"votings": (("rank", 1), ("plurality", 5))},
    "distortions": {"names": ("contrast", "laion-c-stickers"), "per_category": 2, "k": 5},
}
HALF = re.compile(r"[a-z]+/[a-z]+(_\d[02468]|[12](-[a-z]+\d)?)\.png")
everyone = pytest.mark.parametrize("name", EXPERIMENTS)


def test_every_experiment_is_tried_small() -> None:
    assert list(SMALL) == list(EXPERIMENTS)


@everyone
def test_parameters_come_back_from_a_file_as_they_are_compared(name: str) -> None:
    parameters = plain(EXPERIMENTS[name].parameters)

    assert json.loads(json.dumps(parameters)) == parameters


@pytest.fixture(scope="module")
def few(sets: Mapping[str, StimulusSet]) -> Mapping[str, StimulusSet]:
    """Every second photograph, and what is drawn of the first two items of four."""
    return {
        name: stimuli.where(lambda each: HALF.fullmatch(each.file) is not None)
        for name, stimuli in sets.items()
    }


def contents(client: visual_memory.Client) -> list[tuple[str, str]]:
    """Return the uid and digest of each memory."""
    return [(each.uid, each.digest) for each in client.memories()]


@everyone
def test_run_twice_it_finds_the_same_and_says_all_that_is_needed_to_judge_it(
    client: visual_memory.Client,
    sets: Mapping[str, StimulusSet],
    few: Mapping[str, StimulusSet],
    name: str,
) -> None:
    chosen = sets if name == "calibration" else few  # it needs ten for its quarter
    before = contents(client)
    embedders = [Cellular(), *([Cellular("other", 2)] if EXPERIMENTS[name].others else [])]
    found, again = (
        EXPERIMENTS[name].run(client, chosen, embedders, **SMALL[name]).to_json() for _ in range(2)
    )
    assert json.dumps(found) == json.dumps(again)
    assert contents(client) == before
    assert found["experiment"] == name
    assert found["papers"]
    assert found["parameters"] == json.loads(
        json.dumps({**EXPERIMENTS[name].parameters, **SMALL[name]}, default=dict)
    )
    assert found["data"] == {each: chosen[each].sha256 for each in EXPERIMENTS[name].data}
    assert found["embedders"][0] == Cellular().spec
    assert found["states"]
    assert all(len(digest) == 64 for digest in found["states"].values())
    assert any(found["tables"].values())
    assert "95 %" in found["intervals"]
    assert found["comparison"]


@everyone
def test_a_set_that_is_not_given_is_named(
    client: visual_memory.Client, sets: Mapping[str, StimulusSet], name: str
) -> None:
    last = EXPERIMENTS[name].data[-1]
    rest = {each: stimuli for each, stimuli in sets.items() if each != last}
    with pytest.raises(MissingData, match=last):
        EXPERIMENTS[name].run(client, rest, [Cellular()], **SMALL[name])


def test_photographs_go_through_an_embedder_of_the_server(
    client: visual_memory.Client, shared: Path, tmp_path: Path
) -> None:
    chosen = [f"{name}/{name}_{at:03}.jpg" for name in ("bird", "keyboard") for at in range(1, 7)]
    photographs = load("natural16", shared / "data/natural16").where(
        lambda each: each.file in chosen
    )
    embeddings = Embeddings(client, "efficientnet-lite0", tmp_path)
    found = EXPERIMENTS["shortcut"].run(
        client, {"natural16": photographs}, [embeddings], sides=(32,), k=1
    )
    assert all(row["absent"].value > 0.7 for row in found.tables["stamps"])
    assert found.to_json()["embedders"][0]["name"] == "efficientnet-lite0"
