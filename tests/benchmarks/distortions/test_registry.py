from __future__ import annotations

import hashlib
import itertools
import os
import random
import subprocess
import sys
from dataclasses import astuple

import numpy as np
import pytest
from tests.benchmarks.distortions.made import walked

from visual_memory_benchmarks.distortions.distortion import Materials
from visual_memory_benchmarks.distortions.geirhos import mean_amplitudes
from visual_memory_benchmarks.distortions.picture import Picture
from visual_memory_benchmarks.distortions.registry import COMMON, DISTORTIONS, distort, generator
from visual_memory_benchmarks.errors import CannotDistort
from visual_memory_benchmarks.trials.datasets import DATASETS

CASES = [(name, level) for name, each in DISTORTIONS.items() for level in each.levels]
SEEDLESS = {  # nothing in them is drawn
    *("colour", "contrast", "high-pass", "low-pass", "power-equalisation", "false-colour"),
    *("rotation", "laion-c-mosaic", "laion-c-glitched", "laion-c-vertical-lines"),
    *(
        f"imagenet-c-{name}"
        for name in ("defocus-blur", "zoom-blur", "brightness", "contrast", "pixelate")
    ),
    *(f"imagenet-c-{name}" for name in ("jpeg-compression", "gaussian-blur", "saturate")),
}
IDENTITIES = {("colour", "cr"), ("false-colour", "True")}
GREYS = [
    *(("colour", "bw"), ("contrast", "c100"), ("high-pass", "inf"), ("low-pass", "0")),
    *(("phase-scrambling", "0"), ("phase-scrambling-published", "0")),
    *(("power-equalisation", "0"), ("rotation", "0")),
]


def parameters(name: str) -> list[object]:
    levels = DISTORTIONS[name].levels.values()
    return [astuple(each) if hasattr(each, "__slots__") else each for each in levels]


def test_the_experiments_of_the_17_sets_have_their_names_and_conditions() -> None:
    parametric = {name for name, each in DATASETS.items() if each.kind != "nonparametric"}
    assert len(parametric) == 12
    for name in parametric:
        assert tuple(DISTORTIONS[name].levels) == DATASETS[name].conditions
        assert DISTORTIONS[name].family == "geirhos"
        assert DISTORTIONS[name].compares_with == "people"


def test_there_are_six_distortions_of_laion_c_and_nineteen_of_imagenet_c() -> None:
    for family, count in (("laion-c", 6), ("imagenet-c", 19)):
        names = [name for name, each in DISTORTIONS.items() if each.family == family]
        assert len(names) == count
        for name in names:
            assert name.startswith(f"{family}-")
            assert list(DISTORTIONS[name].levels) == ["1", "2", "3", "4", "5"]


def test_fifteen_corruptions_are_common_and_four_are_for_validation() -> None:
    family = {name for name, each in DISTORTIONS.items() if each.family == "imagenet-c"}
    others = {f"imagenet-c-{name}" for name in ("gaussian-blur", "saturate", "spatter")}
    assert len(COMMON) == len(set(COMMON)) == 15
    assert family - set(COMMON) == others | {"imagenet-c-speckle-noise"}


@pytest.mark.parametrize(
    ("name", "table"),
    {
        "contrast": [1, 0.5, 0.3, 0.15, 0.1, 0.05, 0.03, 0.01],
        "high-pass": [np.inf, 3, 1.5, 1, 0.7, 0.55, 0.45, 0.4],
        "low-pass": [0, 1, 3, 5, 7, 10, 15, 40],
        "phase-scrambling": [0, 30, 60, 90, 120, 150, 180],
        "phase-scrambling-published": [0, 30, 60, 90, 120, 150, 180],
        "uniform-noise": [0, 0.03, 0.05, 0.1, 0.2, 0.35, 0.6, 0.9],
        "salt-and-pepper": [0, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95],
        "rotation": [0, 90, 180, 270],
        "eidolonI": [(2**power, 1.0, 10) for power in range(8)],
        "eidolonII": [(2**power, 0.3, 10) for power in range(8)],
        "eidolonIII": [(2**power, 0.0, 10) for power in range(8)],
        "laion-c-mosaic": [4, 6, 8, 16, 28],
        "laion-c-glitched": [2, 4, 5, 8, 10],
        "laion-c-vertical-lines": [(224, 1), (178, 2), (112, 4), (84, 6), (60, 8)],
        "laion-c-geometric-shapes": [150, 300, 600, 800, 1000],
        "laion-c-stickers": [100, 200, 400, 600, 1200],
        "laion-c-luminance-checkerboard": [
            *((0, 50), (50, 100), (100, 125), (125, 150), (150, 255)),
        ],
        "imagenet-c-gaussian-noise": [0.08, 0.12, 0.18, 0.26, 0.38],
        "imagenet-c-shot-noise": [60, 25, 12, 5, 3],
        "imagenet-c-impulse-noise": [0.03, 0.06, 0.09, 0.17, 0.27],
        "imagenet-c-defocus-blur": [(3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)],
        "imagenet-c-glass-blur": [
            *((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
        ],
        "imagenet-c-motion-blur": [(10, 3), (15, 5), (15, 8), (15, 12), (20, 15)],
        "imagenet-c-zoom-blur": [
            *((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
        ],
        "imagenet-c-snow": [
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ],
        "imagenet-c-frost": [(1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)],
        "imagenet-c-fog": [(1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)],
        "imagenet-c-brightness": [0.1, 0.2, 0.3, 0.4, 0.5],
        "imagenet-c-contrast": [0.4, 0.3, 0.2, 0.1, 0.05],
        "imagenet-c-elastic-transform": [12.5, 16.25, 21.25, 25, 30],
        "imagenet-c-pixelate": [0.6, 0.5, 0.4, 0.3, 0.25],
        "imagenet-c-jpeg-compression": [25, 18, 15, 10, 7],
        "imagenet-c-speckle-noise": [0.15, 0.2, 0.35, 0.45, 0.6],
        "imagenet-c-gaussian-blur": [1, 2, 3, 4, 6],
        "imagenet-c-spatter": [
            (0.65, 0.3, 4, 0.69, 0.6, False),
            (0.65, 0.3, 3, 0.68, 0.6, False),
            (0.65, 0.3, 2, 0.68, 0.5, False),
            (0.65, 0.3, 1, 0.65, 1.5, True),
            (0.67, 0.4, 1, 0.65, 1.5, True),
        ],
        "imagenet-c-saturate": [(0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)],
    }.items(),
)
def test_levels_have_the_published_parameters(name: str, table: list[object]) -> None:
    assert parameters(name) == table


def test_what_is_made_of_other_material_than_the_published_compares_with_nothing() -> None:
    assert {name for name, each in DISTORTIONS.items() if each.compares_with == "nothing"} == {
        "imagenet-c-frost",
        "laion-c-mosaic",
        "laion-c-stickers",
    }
    assert {name: each.needs for name, each in DISTORTIONS.items() if each.needs} == {
        "power-equalisation": "amplitudes",
        "laion-c-mosaic": "bank",
        "laion-c-stickers": "bank",
    }
    people = {name for name, each in DISTORTIONS.items() if each.compares_with == "people"}
    assert people == {name for name, each in DISTORTIONS.items() if each.family == "geirhos"}


@pytest.mark.parametrize(("name", "level"), CASES)
def test_every_level_of_every_distortion_gives_a_picture_and_leaves_the_clean_one(
    name: str, level: str, clean: Picture, materials: Materials
) -> None:
    before = clean.copy()
    seen = distort(clean, name, level, seed=1, picture_id="a", materials=materials)
    assert seen.dtype == np.uint8
    assert seen.shape == clean.shape
    np.testing.assert_array_equal(clean, before)
    assert (seen == clean).all() == ((name, level) in IDENTITIES)
    if DISTORTIONS[name].family == "geirhos" and name not in ("colour", "false-colour"):
        assert (seen == seen[..., :1]).all()


@pytest.mark.parametrize(("name", "level"), GREYS)
def test_the_weakest_level_is_the_grey_picture(
    name: str, level: str, clean: Picture, materials: Materials
) -> None:
    seen = distort(clean, name, level, seed=1, picture_id="a", materials=materials)
    grey = (clean @ [0.2125, 0.7154, 0.0721])[..., np.newaxis]
    assert (seen <= grey + 0.0015).all()
    assert (grey < seen + 1.0).all()


def digest(name: str, level: str, picture: Picture, materials: Materials, identity: str) -> str:
    seen = distort(picture, name, level, seed=1, picture_id=identity, materials=materials)
    return hashlib.sha256(seen.tobytes()).hexdigest()


def test_pixels_do_not_depend_on_what_was_asked_before(
    clean: Picture, materials: Materials
) -> None:
    strongest = [(name, list(each.levels)[-1]) for name, each in DISTORTIONS.items()]
    asked = [(*case, identity) for case in strongest for identity in ("a", "b")]
    first = {case: digest(case[0], case[1], clean, materials, case[2]) for case in asked}
    random.Random(1).shuffle(asked)
    again = {case: digest(case[0], case[1], clean, materials, case[2]) for case in asked}
    assert first == again
    for name, level in strongest:
        alike = first[name, level, "a"] == first[name, level, "b"]
        assert alike == (name in SEEDLESS), name


@pytest.mark.parametrize("name", sorted(set(DISTORTIONS) - SEEDLESS))
def test_another_seed_is_another_picture(name: str, clean: Picture, materials: Materials) -> None:
    level = list(DISTORTIONS[name].levels)[-1]
    one, other = (
        distort(clean, name, level, seed=seed, picture_id="a", materials=materials)
        for seed in (1, 2)
    )
    assert (one != other).any()


ALL_DIGESTS = """
from tests.benchmarks.distortions.made import walked
from tests.benchmarks.distortions.test_registry import digest
from visual_memory_benchmarks.distortions.bank import Bank
from visual_memory_benchmarks.distortions.distortion import Materials
from visual_memory_benchmarks.distortions.geirhos import mean_amplitudes
from visual_memory_benchmarks.distortions.registry import DISTORTIONS
clean, other = walked(0), walked(1)
materials = Materials(Bank([clean, other]), mean_amplitudes([clean, other]))
for name, each in DISTORTIONS.items():
    for level in list(each.levels)[1::4]:
        print(name, level, digest(name, level, clean, materials, "a"))
"""


def test_pixels_are_the_same_in_another_process_with_other_threads() -> None:
    outputs = []
    for threads in ("1", "3"):
        environment = os.environ | {
            "OPENBLAS_NUM_THREADS": threads,
            "PYTHONHASHSEED": threads,
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        run = subprocess.run(
            [sys.executable, "-c", ALL_DIGESTS],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        outputs.append(run.stdout.splitlines())
    assert len(outputs[0]) == sum((len(each.levels) + 2) // 4 for each in DISTORTIONS.values())
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize("size", [(32, 32), (45, 77)])
@pytest.mark.parametrize("name", DISTORTIONS)
def test_small_and_oblong_pictures_can_be_distorted(
    name: str, size: tuple[int, int], materials: Materials
) -> None:
    small = walked(3, *size)
    materials = Materials(materials.bank, mean_amplitudes([small]))
    levels = list(DISTORTIONS[name].levels)
    for level in dict.fromkeys((levels[1], levels[-1])):
        seen = distort(small, name, level, seed=1, picture_id="a", materials=materials)
        turned = name == "rotation" and level in ("90", "270")
        assert seen.shape[:2] == (size[::-1] if turned else size)


@pytest.mark.parametrize(
    ("name", "weak", "strong"),
    [
        (name, *[list(each.levels)[at] for at in (0, -1)])
        for name, each in DISTORTIONS.items()
        if name not in ("imagenet-c-saturate", "imagenet-c-spatter")
    ],
)
def test_the_last_level_is_further_from_a_photograph_than_the_first(
    name: str, weak: str, strong: str, photographs: list[Picture], materials: Materials
) -> None:
    def distance(level: str) -> float:
        changed = [
            distort(each, name, level, seed=1, picture_id=str(at), materials=materials)
            for at, each in enumerate(photographs[:2])
        ]
        return float(
            np.mean(
                [
                    np.abs(a.astype(float) - b).mean()
                    for a, b in zip(changed, photographs, strict=False)
                ]
            )
        )

    assert distance(strong) > distance(weak)


def test_an_unknown_name_or_level_is_answered_with_the_choices(clean: Picture) -> None:
    with pytest.raises(CannotDistort, match=r"is called 'blur'. There are: colour, contrast"):
        distort(clean, "blur", "1", seed=1, picture_id="a")
    with pytest.raises(CannotDistort, match=r"'contrast' has no level '1'. It has: c100, c50"):
        distort(clean, "contrast", "1", seed=1, picture_id="a")


@pytest.mark.parametrize(
    ("picture", "said"),
    [
        (np.zeros((64, 64, 3), np.float32), "'a' is 64 × 64 × 3 of float32"),
        (np.zeros((64, 64), np.uint8), "'a' is 64 × 64 of uint8"),
        (np.zeros((64, 64, 4), np.uint8), "'a' is 64 × 64 × 4 of uint8"),
        (np.zeros((64, 31, 3), np.uint8), "'a' is 64 × 31: sides of at least 32"),
    ],
)
def test_a_picture_of_another_kind_is_refused_by_its_id(picture: Picture, said: str) -> None:
    with pytest.raises(CannotDistort, match=said):
        distort(picture, "contrast", "c50", seed=1, picture_id="a")


@pytest.mark.parametrize(
    ("name", "level", "said"),
    [
        ("laion-c-mosaic", "1", "Bank"),
        ("laion-c-stickers", "1", "Bank"),
        ("power-equalisation", "pow", "mean_amplitudes"),
    ],
)
def test_what_a_distortion_needs_and_was_not_given_is_named(
    name: str, level: str, said: str, clean: Picture
) -> None:
    with pytest.raises(CannotDistort, match=f"{name}.*{said}"):
        distort(clean, name, level, seed=1, picture_id="a")


def test_the_same_four_give_the_same_numbers() -> None:
    one, other = (generator(1, "fog", "3", "a.png") for _ in range(2))
    assert one.integers(0, 2**60, 8).tolist() == other.integers(0, 2**60, 8).tolist()


def test_another_of_the_four_gives_other_numbers() -> None:
    identities = itertools.product([1, 2], ["fog", "snow"], ["3", "4"], ["a.png", "b.png"])
    numbers = [int(generator(*identity).integers(0, 2**60)) for identity in identities]
    assert len(set(numbers)) == 16


def test_parts_that_read_alike_when_joined_are_told_apart() -> None:
    assert generator(1, "a", "bc", "d").random() != generator(1, "ab", "c", "d").random()


def test_numbers_stay_what_they_are() -> None:
    assert generator(1, "fog", "3", "a.png").integers(0, 1000, 4).tolist() == [619, 886, 273, 876]
