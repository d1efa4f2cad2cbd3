"""Generated results of experiments, and tables of fictitious people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

from tests.benchmarks.made import HEADER, row

from visual_memory_benchmarks.distortions.registry import DISTORTIONS
from visual_memory_benchmarks.edits.edit import KINDS
from visual_memory_benchmarks.trials.datasets import ALL, CATEGORIES, DATASETS

DIGEST = "0123456789abcdef" * 4
SPEC = {"name": "efficientnet-lite0"}
KS = (1, 10)
SETS = ("cue-conflict", "edge", "silhouette")


def to_estimate(value: float) -> dict[str, float]:
    """Make an estimate with a confidence interval 0.02 wide."""
    return {"value": value, "low": value - 0.01, "high": value + 0.01}


def to_result(name: str, tables: Mapping[str, Any], **parameters: Any) -> dict[str, Any]:
    """Make a result as an experiment would."""
    return {
        "experiment": name,
        "title": name,
        "papers": [8],
        "parameters": {"seeds": 2, "k": 10, **parameters},
        "data": {"natural16": DIGEST},
        "embedders": [SPEC],
        "states": {"seed 0": DIGEST, "seed 1": DIGEST[::-1]},
        "tables": tables,
        "intervals": "95 %, of nothing",
        "comparison": "With nothing.",
    }


HALF = to_estimate(0.5)

RESULTS: Mapping[str, Mapping[str, Any]] = {
    "votings": to_result(
        "votings",
        {
            "curves": [
                {"voting": rule, "k": k, "accuracy": HALF}
                for rule in ("plurality", "rank")
                for k in KS
            ],
            "chosen": [
                {"voting": rule, "chosen_ks": [1, 10], "accuracy": HALF, "optimism": HALF}
                | {"accuracy_at_10": HALF}
                for rule in ("plurality", "rank")
            ],
            "leave_one_out": [{"voting": "rank", "k": 1, "accuracy": to_estimate(0.93)}],
            "ranks": [{"rank": rank, "accuracy": HALF} for rank in (1, 2, 3)],
            "reliability": [
                {"law": "a ln j + b", "ranks": 3, "a": HALF, "b": HALF, "explained": 0.9}
            ],
        },
        fixed_ks=[10],
    ),
    "class_addition": to_result(
        "class_addition",
        {
            "doses": [
                {"exemplars": dose, "k": k, "new_accuracy": HALF, "old_accuracy": HALF}
                | {"old_change": to_estimate(-0.01), "old_called_new": HALF}
                for k in KS
                for dose in (0, 5)
            ]
        },
    ),
    "scaling": to_result(
        "scaling",
        {
            "sizes": [
                {"size": size, "k": k, "error_percent": to_estimate(error)}
                for k in KS
                for size, error in ((20, 40.0), (600, 7.0))
            ],
            "fits": [
                {"law": law, "k": k, "a": to_estimate(-0.5), "b": to_estimate(2.0)}
                | {"residual_log10": HALF}
                for k in KS
                for law in ("10^b (log10 N)^a", "10^b N^a")
            ],
        },
    ),
    "label_noise": to_result(
        "label_noise",
        {
            "noise": [
                {"wrong_labels": share, "method": method, "accuracy": HALF, "gain": HALF}
                | {"pruned": HALF if method == "hard" else None}
                for share in (0.0, 0.8)
                for method in ("none", "soft", "hard")
            ]
        },
    ),
    "pruning": to_result(
        "pruning",
        {
            "prunes": [
                {"method": method, amount: value, "kept": to_estimate(0.5), "accuracy": HALF}
                | {
                    "labels_left": HALF,
                    "random_accuracy": HALF,
                    "gain_over_random": HALF,
                    "gain_over_all": HALF,
                }
                for method, amount, value in (("random", "fraction", 0.5), ("hard", "threshold", 4))
            ],
            "unpruned": [{"all": HALF, "soft": HALF, "soft_gain": HALF}],
        },
    ),
    "open_set": to_result(
        "open_set",
        {
            "scores": [
                {"score": "mean", "neighbors": 10, "auroc": HALF, "fpr95": HALF, "limit": 0.4}
            ],
            "classes": [
                {"unknown": name, "pictures": 30, "auroc": HALF, "fpr95": HALF, "limit": 0.4}
                for name in ("crab", "ewer")
            ],
            "service": [
                {"rejection_distance": 0.5, "rejected_of_known": HALF, "rejected_of_unknown": HALF}
            ],
        },
    ),
    "calibration": to_result(
        "calibration",
        {
            "errors": [{"bins": 15, "before": HALF, "after": HALF, "change": HALF}],
            "coverage": [
                {"conformal": "lac", "allow_empty": True, "coverage_by": "all", "wanted": 0.9}
                | {"covered": HALF, "least_covered": {"label": "cat", "covered": 0.4}}
                | {"set_size": HALF}
            ],
        },
    ),
    "unlearning": to_result(
        "unlearning",
        {
            "classes": [
                {"label": "cat", "entries": 60, "same_digest": True, "decisions": 100}
                | {"other_decisions": 0, "certified": True, "called": {"dog": 50, "bear": 10}}
                | {"still_called": to_estimate(0.0)}
            ]
        },
    ),
    "embedders": to_result(
        "embedders",
        {
            "accuracy": [
                {"set": "natural16", "k": 1, "embedder": "lite0", "pictures": 828, "accuracy": HALF}
            ],
            "shape_bias": [
                {"k": 1, "embedder": "lite0", "pictures": 1200, "shape": 149, "texture": 544}
                | {"shape_bias": to_estimate(0.215)}
            ],
            "consistency": [
                {"set": "natural16", "k": 1, "first": "lite0", "second": "lite1"}
                | {"same_label": HALF, "observed": HALF, "error_consistency": HALF}
            ],
        },
    ),
    "shortcut": to_result(
        "shortcut",
        {
            "stamps": [
                {"side": side, "stamp": stamp, "consistent": HALF, "absent": HALF}
                | {"conflicting": HALF, "conflicting_change": HALF, "called_stamped": HALF}
                | {"called_unstamped": HALF}
                for side in (32, 64)
                for stamp in ("no stamp", "on one label")
            ]
        },
    ),
    "augmentation": to_result(
        "augmentation",
        {
            "pairs": [
                {"remembered": one, "asked": other, "accuracy": HALF, "gain_over_clean": HALF}
                | {"gain": to_estimate(0.3 if one == other else -0.02)}
                for one in ("colour", "low-pass")
                for other in ("none", "colour", "low-pass")
            ],
            "transfer": [
                {"remembered": name, "same": HALF, "others": HALF, "undistorted": HALF}
                for name in ("colour", "low-pass")
            ],
        },
    ),
    "steering": to_result(
        "steering",
        {
            "additions": [
                {"added": added, "of_each_category": dose, "shape_bias": HALF}
                | {"shape": HALF, "texture": HALF}
                | {
                    f"{name}_change": to_estimate(0.1 * dose)
                    for name in ("shape_bias", "shape", "natural", "filled_silhouettes")
                }
                for added, dose in (
                    ("natural", 0),
                    ("edges", 1),
                    ("edges", 5),
                    ("cue conflict, called by shape", 5),
                    ("cue conflict, called neither", 5),
                )
            ]
        },
    ),
    "triplets": to_result(
        "triplets",
        {
            "category_triplets": [{"embedder": "lite0", "accuracy": HALF}],
            "ordinal_consistency": [
                {"triplets": "random", "first": "lite0", "second": "lite1", "agreed": HALF}
            ],
        },
    ),
    "dichotomy": to_result(
        "dichotomy",
        {
            "difficulty": [
                {"set": "natural16", "configurations": 27, "pictures": 828, "trivial": HALF}
                | {"impossible": HALF, "rest": HALF, "error_consistency": HALF}
                | {"error_consistency_of_rest": HALF}
            ]
        },
    ),
    "distortions": to_result(
        "distortions",
        {
            "clean": [
                {"family": "clean", "distortion": "clean", "level": "", "pictures": 80}
                | {"accuracy": HALF, "response_entropy": 3.9}
            ],
            "levels": [
                {"family": each.family, "distortion": name, "level": level, "pictures": 80}
                | {"accuracy": HALF, "response_entropy": 3.5}
                for name, each in DISTORTIONS.items()
                for level in each.levels
            ],
            "means": [
                {"of": "imagenet-c, the 15 common", "distortions": 15}
                | {"mean_accuracy": HALF, "relative": HALF}
            ],
            "confusions": [
                {"distortion": "uniform-noise", "level": level}
                | {"counts": {category: {category: 3, "bottle": 2} for category in CATEGORIES}}
                for level in DISTORTIONS["uniform-noise"].levels
            ],
        },
        names=list(DISTORTIONS),
    ),
}


def to_study(differences: Mapping[str, float], p: float = 0.001) -> dict[str, Any]:
    """Make a study of edits in which each kind has its difference in every outcome."""
    outcomes = {
        "shape_bias": {"what": "shape bias, cue-conflict", "tested": True},
        "natural_accuracy": {"what": "accuracy on photographs", "tested": True},
        "likeness": {"what": "error consistency with people, mean of three sets", "tested": True},
        "shape_share": {"what": "answers that follow shape, cue-conflict", "tested": False},
        "texture_share": {"what": "answers that follow texture, cue-conflict", "tested": False},
        "accuracy_edge": {"what": "accuracy, edge", "tested": False},
    }
    return {
        "study": {
            "ks": [10],
            "voting": "rank",
            "server_version": "0.1.0",
            "sources": {"embedder": SPEC},
        },
        "statistics": {
            "seeds": 2,
            "resamples": 100,
            "alpha": 0.05,
            "families": {"10": 3 * len(differences)},
            "tests": {"natural": 200.0, "cue-conflict": 320.5},
        },
        "edits": [
            {"kind": kind, "dose": 1.0, "what": f"do {kind}", "unit": "pictures"}
            | {"control": KINDS[kind].control, "sizes": [16, 16]}
            for kind in differences
        ],
        "outcomes": outcomes,
        "before": [{"k": 10, "outcome": name, **to_estimate(0.2)} for name in outcomes],
        "contrasts": [
            {"k": 10, "outcome": name, "kind": kind, "dose": 1.0, "edited": 0.3, "control": 0.2}
            | {"difference": to_estimate(difference), "by_seed": [difference] * 2}
            | {"p": p if each["tested"] else None, "p_holm": p if each["tested"] else None}
            for name, each in outcomes.items()
            for kind, difference in differences.items()
        ],
        "states": [
            {"seed": seed, "kind": "nothing", "dose": 0, "size": 0, "digest": DIGEST}
            for seed in (0, 1)
        ],
    }


def write_results(folder: Path) -> None:
    """Write results of every experiment and of the study of edits, and trials of one memory."""
    experiments = folder / "experiments"
    experiments.mkdir(parents=True)
    for name, result in {**RESULTS, "edits": to_study({"edges": 0.1, "halving": -0.1})}.items():
        (experiments / f"{name}.json").write_text(json.dumps(result))
    (experiments / "votings.record.json").write_text("{}")
    for name in SETS:
        write_trials(folder, name, "lite0-rank-k10", shift=5)
        record = {
            "benchmark": name,
            "maker": "lite0-rank-k10",
            "memory": {"embedder": SPEC, "count": 828, "digest": DIGEST},
            "parameters": {"k": 10, "voting": "rank"},
            "seed": 0,
            "starts": [{"server_version": "0.1.0"}],
        }
        (folder / name / "lite0.record.json").write_text(json.dumps(record))


def write_people(folder: Path) -> None:
    """Write trials of two people on all datasets, and of a network on the sets of shapes."""
    for name in DATASETS:
        for person, shift in (("subject-01", 1), ("subject-02", 2)):
            write_trials(folder / "human", name, person, shift)
    for name in SETS:
        write_trials(folder / "model", name, "resnet50", shift=3)


def write_trials(folder: Path, dataset: str, maker: str, shift: int) -> None:
    """Write the trials of one maker, with regular errors."""
    found = DATASETS[dataset]
    shown = [
        (condition, category, number)
        for condition in found.conditions
        for category, number in product(CATEGORIES, (1, 2))
    ]
    lines = [HEADER]
    for at, (condition, category, number) in enumerate(shown):
        texture = CATEGORIES[(CATEGORIES.index(category) + number) % len(CATEGORIES)]
        wrong = at % (3 + shift) == 0
        token = "0" if condition == ALL else condition
        image = f"{at:04}_x_dnn_{token}_{category}_00_{category}{number}-{texture}1.png"
        lines.append(row(maker, texture if wrong else category, category, token, image))
    path = folder / dataset / f"{dataset}_{maker}_session_1.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
