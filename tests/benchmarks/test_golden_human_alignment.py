"""Every value of golden_human_alignment.json is reproduced, or named as not reproducible."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest

from visual_memory_benchmarks.metrics import consistency, developmental
from visual_memory_benchmarks.metrics.bootstrap import Resampling
from visual_memory_benchmarks.metrics.leaderboard import aggregate, human_likeness, oriented
from visual_memory_benchmarks.metrics.shape_bias import Votes
from visual_memory_benchmarks.metrics.summary import summarise
from visual_memory_benchmarks.trials.datasets import CATEGORIES, DATASETS

Place: TypeAlias = tuple[str, ...]
Values: TypeAlias = dict[Place, Any]

NAMES = {
    "accdiff": "accuracy_difference",
    "exp": "expected_consistency",
    "obs": "observed_consistency",
    "ec": "error_consistency",
}
COUNTS = {
    "n_humans": "makers",
    "n_images_total": "images",
    "n_trials_human_all": "trials",
    "n_trials_human_used": "trials_used",
    "n_correct_human_used": "correct_used",
    "n_na_human": "no_answer",
}
METRICS = {
    "ood_accuracy": "ood_accuracy",
    "neg_accuracy_difference": "accuracy_difference",
    "observed_consistency": "observed_consistency",
    "error_consistency": "error_consistency",
    "shape_bias": "shape_bias",
}
# The trials of the nine networks are not among the data, and of children there are published rows
# alone. What is here of them can only be held against itself, which ``from_golden`` does.
CANNOT_FOLLOW: dict[str, Callable[[Place], bool]] = {
    "what a network answered": lambda path: (
        path[0] == "model_per_dataset" and path[-1] in {*NAMES, "accuracy", "n_pairs_obs_eq_1"}
    ),
    "what a network answered in a category": lambda path: (
        path[:2] == ("shape_bias", "models")
        and "per_category" in path
        and path[-1] in ("shape", "texture")
    ),
    "counts of children's trials that no metric needs": lambda path: (
        path[0] == "children" and path[-1] in ("n_all", "n_images")
    ),
    "how many children saw a distortion": lambda path: (
        path[:2] == ("children", "acc") and path[-1] == "n_subj"
    ),
    "prose": lambda path: path in {("description",), ("aggregation", "note")},
}


def leaves(value: Any, path: Place = ()) -> Iterator[tuple[Place, Any]]:
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, each in pairs:
            yield from leaves(each, (*path, str(key)))
    else:
        yield path, value


@pytest.fixture(scope="module")
def golden(shared: Path) -> Any:
    return json.loads((shared / "spec" / "golden_human_alignment.json").read_text())


@pytest.fixture(scope="module")
def people(shared: Path) -> Any:
    """Return the output of ``metrics`` on the tables of people."""
    folder = shared / "data" / "human_responses" / "human"
    summary = summarise(folder, resampling=Resampling(resamples=2))
    return json.loads(json.dumps(summary, allow_nan=False))


def measures(row: Any) -> dict[str, float]:
    return {short: row[name]["value"] for short, name in NAMES.items()}


def from_tables(people: Any) -> Values:
    """Return the values computed from people's tables, at their places in the golden file."""
    bias = people["shape_bias"]
    told = bias["humans"]
    return dict(
        leaves(
            {
                "humans": {
                    "accuracy": people["humans"]["ood_accuracy"]["value"],
                    **measures(people["humans"]),
                },
                "human_per_dataset": {
                    name: {
                        **{short: row["humans"][long] for short, long in COUNTS.items()},
                        "accuracy": row["humans"]["accuracy"]["value"],
                        **measures(row["humans"]),
                    }
                    for name, row in people["datasets"].items()
                },
                "human_per_condition": {
                    name: {
                        condition: {
                            "n_trials": each["trials"],
                            "n_images": each["images"],
                            "excluded": each["excluded"],
                            "accuracy": each["accuracy"]["value"],
                            **measures(each),
                        }
                        for condition, each in row["humans"]["by_condition"].items()
                    }
                    for name, row in people["datasets"].items()
                },
                "shape_bias": {
                    "n_conflict_images": bias["conflict_images"],
                    "humans": votes(told),
                    "humans_mean_over_subjects": told["mean_over_subjects"]["value"],
                    "humans_per_category_pooled": {
                        name: votes(row) for name, row in told["by_category"].items()
                    },
                    "humans_per_category_mean_over_subjects": {
                        name: row["mean_over_subjects"]["value"]
                        for name, row in told["by_category"].items()
                    },
                    "humans_per_subject": {
                        name: votes(row) for name, row in told["by_subject"].items()
                    },
                },
                "model_per_dataset": {
                    model: {
                        name: {"n": row["humans"]["trials_used"] // row["humans"]["makers"]}
                        for name, row in people["datasets"].items()
                    }
                    for model in people["golden_models"]
                },
            }
        )
    )


def votes(row: Any) -> dict[str, Any]:
    return {
        "shape": row["shape"],
        "texture": row["texture"],
        "n": row["trials"],
        "bias": row["bias"]["value"],
    }


def from_golden(golden: Any) -> Values:
    """Return the values that follow from other rows of the golden file."""
    names, metrics = golden["aggregation"]["models"], golden["aggregation"]["metrics"]
    rows = {name: averaged(golden["model_per_dataset"][name]) for name in names}
    biases = {name: model_votes(golden["shape_bias"]["models"][name]) for name in names}
    scored = {
        name: {METRICS["ood_accuracy"]: rows[name]["accuracy"]}
        | {long: rows[name][short] for short, long in NAMES.items()}
        | {"shape_bias": biases[name]["bias"]}
        for name in names
    }
    columns = aggregate(oriented(scored, [METRICS[name] for name in metrics]))
    return dict(
        leaves(
            {
                "models": rows,
                "shape_bias": {"models": biases},
                "aggregation": {
                    "models": sorted(golden["models"]),
                    "metrics": list(METRICS),
                    "humanlike_mean_rank": human_likeness(scored),
                    **{
                        key: dict(zip(names, values.tolist(), strict=True))
                        for key, values in columns.items()
                    },
                },
            }
        )
    )


def averaged(datasets: Any) -> dict[str, float]:
    keys = ["accuracy", *NAMES]
    table = np.array([[row[key] for key in keys] for row in datasets.values()])
    return dict(zip(keys, consistency.mean(table, axis=0).tolist(), strict=True))


def model_votes(row: Any) -> dict[str, Any]:
    """Return votes summed over categories, with the biases of the sum and of each category."""
    categories = row["per_category"]
    counted = {
        key: np.array([[each[key]] for each in categories.values()])
        for key in ("shape", "texture", "n")
    }
    by_category = Votes(*(each.astype(float) for each in counted.values()))
    pooled = by_category.pooled
    return {
        "shape": int(pooled.shape[0, 0]),
        "texture": int(pooled.texture[0, 0]),
        "n": int(pooled.trials[0, 0]),
        "bias": float(pooled.bias[0, 0]),
        "per_category": {
            name: {"n": 75, "bias": float(each[0])}
            for name, each in zip(categories, by_category.bias, strict=True)
        },
    }


def published() -> Values:
    """Return the packaged values of children, at their places in the golden file."""
    shape: dict[str, Any] = {}
    for group, row in developmental.SHAPE_BIAS.items():
        shape[group] = {
            "n_trials": row.trials,
            "shape": row.shape,
            "texture": row.texture,
            "bias": row.pooled,
        }
        if row.subjects is not None:
            shape[group] |= {
                "n_subj": row.subjects,
                "mean_over_subjects": row.mean_over_subjects,
            }
    levels = {
        "/".join(key): {name: [each.accuracy, each.trials] for name, each in row.items()}
        for key, row in developmental.LEVELS.items()
    }
    return dict(leaves({"children": {"shape": shape, "acc": levels}}))


@pytest.fixture(scope="module")
def found(people: Any, golden: Any) -> Values:
    return (
        from_tables(people | {"golden_models": golden["models"]})
        | from_golden(golden)
        | published()
    )


def test_every_value_that_follows_is_reproduced_to_1e_9(golden: Any, found: Values) -> None:
    wanted = {path: value for path, value in leaves(golden) if path in found}
    texts = {path: value for path, value in wanted.items() if isinstance(value, str)}
    numbers = {path: value for path, value in wanted.items() if path not in texts}

    assert {path: found[path] for path in texts} == texts
    assert {path: found[path] for path in numbers} == pytest.approx(numbers, rel=0, abs=1e-9)
    assert len(wanted) == 1646  # of 2874


def test_every_value_either_follows_or_is_one_that_cannot(golden: Any, found: Values) -> None:
    reasons = {
        path: [reason for reason, covers in CANNOT_FOLLOW.items() if covers(path)]
        for path, _ in leaves(golden)
        if path not in found
    }

    assert [path for path, each in reasons.items() if len(each) != 1] == []
    assert {reason for each in reasons.values() for reason in each} == set(CANNOT_FOLLOW)


def test_nothing_is_found_that_the_golden_file_does_not_have(golden: Any, found: Values) -> None:
    known = dict(leaves(golden))
    beyond = {path for path in found if path not in known}

    # The golden file leaves out what it would repeat: expected consistency of single conditions.
    assert {path[-1] for path in beyond} <= {"exp"}
    assert {path[0] for path in beyond} <= {"human_per_condition"}


def test_all_datasets_conditions_subjects_and_categories_are_compared(
    golden: Any, found: Values
) -> None:
    assert {path[1] for path in found if path[0] == "human_per_dataset"} == set(DATASETS)
    assert {path[1:3] for path in found if path[0] == "human_per_condition"} == {
        (name, condition) for name, each in DATASETS.items() for condition in each.conditions
    }
    subjects = {path[2] for path in found if path[1:2] == ("humans_per_subject",)}
    assert subjects == set(golden["shape_bias"]["humans_per_subject"])
    categories = {path[2] for path in found if path[1:2] == ("humans_per_category_pooled",)}
    assert categories == set(CATEGORIES)


def test_the_headline_values_are_the_published_ones(people: Any) -> None:
    humans = people["humans"]

    assert round(people["shape_bias"]["humans"]["bias"]["value"], 5) == 0.95869
    assert round(humans["ood_accuracy"]["value"], 5) == 0.72281
    assert round(humans["accuracy_difference"]["value"], 5) == 0.00657
    assert round(humans["observed_consistency"]["value"], 5) == 0.80854
    assert round(humans["error_consistency"]["value"], 5) == 0.43122
    assert sum(row["humans"]["trials"] for row in people["datasets"].values()) == 85_120
    assert sum(row["humans"]["no_answer"] for row in people["datasets"].values()) == 597


def test_three_averages_of_human_shape_bias_are_three_numbers(people: Any) -> None:
    told = people["shape_bias"]["humans"]

    assert round(told["bias"]["value"], 5) == 0.95869
    assert round(told["mean_over_subjects"]["value"], 5) == 0.95759
    assert round(told["mean_over_categories"]["value"], 5) == 0.95385
    shares = np.array([told["shape_share"], told["texture_share"]])
    assert shares == pytest.approx(np.array([9236, 398]) / 12_000)


def test_no_kept_condition_has_a_pair_whose_consistency_is_undefined(people: Any) -> None:
    for row in people["datasets"].values():
        assert row["humans"]["undefined_pairs"] == row["humans"]["identical_pairs"] == 0


def test_excluded_are_controls_and_conditions_below_a_fifth_but_for_one_at_the_border(
    people: Any,
) -> None:
    controls = {
        "colour": "cr",
        "contrast": "c100",
        "high-pass": "inf",
        "low-pass": "0",
        "phase-scrambling": "0",
        "power-equalisation": "0",
        "false-colour": "True",
        "rotation": "0",
        "eidolonI": "1-10-10",
        "eidolonII": "1-3-10",
        "eidolonIII": "1-0-10",
        "uniform-noise": "0.0",
    }

    differing = {
        (name, condition)
        for name, row in people["datasets"].items()
        for condition, each in row["humans"]["by_condition"].items()
        if each["excluded"] != (controls.get(name) == condition or each["accuracy"]["value"] < 0.2)
    }

    assert differing == {("low-pass", "15")}  # exactly 0.2, and excluded


def test_the_networks_among_the_data_have_the_shape_biases_that_its_readme_gives(
    shared: Path,
) -> None:
    folder = shared / "data" / "human_responses" / "model"
    summary = summarise(folder, resampling=Resampling(resamples=2))
    models = summary["shape_bias"]["models"]

    wanted = {
        "resnet50": 0.2207,
        "resnet50-train-60-epochs": 0.8061,
        "vgg16": 0.0921,
        "alexnet": 0.2531,
    }
    assert {name: round(models[name]["bias"]["value"], 4) for name in wanted} == wanted
    resnet = models["resnet50"]
    assert (resnet["shape"], resnet["texture"]) == (162, 572)
    assert resnet["trials"] - resnet["shape"] - resnet["texture"] == 466
    assert len(models) == 16
