"""The sections of the page, in their order."""

from visual_memory_benchmarks.report.findings import RUNS
from visual_memory_benchmarks.report.section import Section, of_experiment
from visual_memory_benchmarks.report.sections import (
    augmentation,
    calibration,
    class_addition,
    consistency,
    dichotomy,
    distortions,
    edits,
    embedders,
    label_noise,
    leaderboard,
    open_set,
    pruning,
    scaling,
    shape_bias,
    shortcut,
    steering,
    triplets,
    unlearning,
    votings,
)

SECTIONS: tuple[Section, ...] = (
    Section(
        "Error consistency with people",
        (15, 27),
        (RUNS,),
        "visual-memory-bench run cue-conflict edge silhouette --memory NAME",
        consistency.write,
    ),
    Section(
        "Shape bias by category",
        (31, 7),
        (RUNS,),
        "visual-memory-bench run cue-conflict --memory NAME",
        shape_bias.write,
    ),
    of_experiment(
        "Accuracy over distortion level", (32, 33, 7), distortions.NAME, distortions.write_levels
    ),
    of_experiment(
        "Confusions as the signal gets weaker",
        (33, 32),
        distortions.NAME,
        distortions.write_confusions,
    ),
    of_experiment(
        "Corruptions: mPC and rPC", (29, 18), distortions.NAME, distortions.write_corruptions
    ),
    of_experiment("Edits against perception", (14, 27, 31), edits.NAME, edits.write),
    of_experiment("Steering shape bias", (14, 31), steering.NAME, steering.write),
    of_experiment(
        "Remembering distorted copies", (29, 31, 32), augmentation.NAME, augmentation.write
    ),
    of_experiment("Votings over k", (8,), votings.NAME, votings.write),
    of_experiment("Adding classes", (8,), class_addition.NAME, class_addition.write),
    of_experiment("Scaling", (8, 4), scaling.NAME, scaling.write),
    of_experiment("Pruning", (4, 8), pruning.NAME, pruning.write),
    of_experiment("Label noise", (8,), label_noise.NAME, label_noise.write),
    of_experiment("Unlearning a class, exactly", (8,), unlearning.NAME, unlearning.write),
    of_experiment("Open set", (8,), open_set.NAME, open_set.write),
    of_experiment("Calibration", (8,), calibration.NAME, calibration.write),
    of_experiment("Embedder by embedder", (26, 27, 31), embedders.NAME, embedders.write),
    of_experiment("Trivial, impossible and other pictures", (23,), dichotomy.NAME, dichotomy.write),
    of_experiment("Triplets", (30,), triplets.NAME, triplets.write),
    of_experiment("Shortcuts", (28,), shortcut.NAME, shortcut.write),
    Section(
        "Several metrics made one",
        (10,),
        (RUNS,),
        "visual-memory-bench metrics HUMAN MODEL RUNS",
        leaderboard.write_aggregates,
    ),
    Section(
        "Leaderboard, published",
        (15, 1, 5),
        (),
        "visual-memory-bench metrics HUMAN",
        leaderboard.write,
    ),
)
