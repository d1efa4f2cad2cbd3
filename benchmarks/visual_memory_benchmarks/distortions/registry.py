"""The table of distortions, and the function that applies them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

import numpy as np

from visual_memory_benchmarks.distortions import geirhos, imagenet_c, laion_c, opponent, weather
from visual_memory_benchmarks.distortions.distortion import Apply, Distortion, Materials
from visual_memory_benchmarks.distortions.eidolon import Disarray, eidolon
from visual_memory_benchmarks.distortions.errors import CannotDistort
from visual_memory_benchmarks.distortions.picture import (
    SIDE_MIN,
    Floats,
    Picture,
    grey,
    shown,
    unit,
)
from visual_memory_benchmarks.distortions.seeding import generator

I = TypeVar("I")  # noqa: E741  # an image of some kind
P = TypeVar("P")
Drawn: TypeAlias = Callable[[I, P, np.random.Generator], I]

NOTHING = Materials()
_NEEDED = {
    "bank": "a Bank of pictures that are not in the memory: Materials(bank=Bank(pictures))",
    "amplitudes": "the mean amplitudes of all pictures of the set: "
    "Materials(amplitudes=mean_amplitudes(pictures))",
}


def distort(
    picture: Picture,
    name: str,
    level: str,
    *,
    seed: int,
    picture_id: str,
    materials: Materials = NOTHING,
) -> Picture:
    """Apply one of ``DISTORTIONS`` at one of its levels to a picture (h × w × 3 of uint8).

    The same arguments give the same pixels, whatever was computed before. Raises CannotDistort.
    """
    distortion = DISTORTIONS.get(name)
    if distortion is None:
        names = ", ".join(DISTORTIONS)
        raise CannotDistort(f"No distortion is called {name!r}. There are: {names}.")
    if level not in distortion.levels:
        levels = ", ".join(distortion.levels)
        raise CannotDistort(f"The distortion {name!r} has no level {level!r}. It has: {levels}.")
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        kind = f"{' × '.join(map(str, picture.shape))} of {picture.dtype}"
        raise CannotDistort(
            f"The picture {picture_id!r} is {kind}, not height × width × 3 of uint8."
        )
    if min(picture.shape[:2]) < SIDE_MIN:
        size = f"{picture.shape[0]} × {picture.shape[1]}"
        raise CannotDistort(
            f"The picture {picture_id!r} is {size}: sides of at least {SIDE_MIN} can be distorted."
        )
    if distortion.needs and getattr(materials, distortion.needs) is None:
        raise CannotDistort(f"The distortion {name!r} needs {_NEEDED[distortion.needs]}.")
    rng = generator(seed, name, level, picture_id)
    return distortion.apply(picture, distortion.levels[level], rng, materials)


def _fixed(function: Callable[[I, P], I]) -> Drawn[I, P]:
    return lambda image, parameter, _: function(image, parameter)


def _of_picture(function: Drawn[Picture, P]) -> Apply[P]:
    return lambda picture, parameter, rng, _: function(picture, parameter, rng)


def _of_grey(function: Drawn[Floats, P]) -> Apply[P]:
    return lambda picture, parameter, rng, _: shown(function(grey(picture), parameter, rng))


def _of_colours(function: Drawn[Floats, P]) -> Apply[P]:
    return lambda picture, parameter, rng, _: shown(function(unit(picture), parameter, rng))


def _colour(picture: Picture, kept: bool) -> Picture:
    return picture if kept else shown(grey(picture))


def _false_colour(picture: Picture, true: bool) -> Picture:
    return picture if true else opponent.opponent_colours(picture)


def _power_equalisation(
    picture: Picture, equalised: bool, _: np.random.Generator, materials: Materials
) -> Picture:
    plane = grey(picture)
    if equalised:
        assert materials.amplitudes is not None
        plane = geirhos.power_equalisation(plane, materials.amplitudes)
    return shown(plane)


def _mosaic(picture: Picture, side: int, _: np.random.Generator, materials: Materials) -> Picture:
    assert materials.bank is not None
    return laion_c.mosaic(picture, side, materials.bank)


def _stickers(
    picture: Picture, count: int, rng: np.random.Generator, materials: Materials
) -> Picture:
    assert materials.bank is not None
    return laion_c.stickers(picture, count, rng, materials.bank)


def _numbers(*tokens: str) -> dict[str, float]:
    return {token: float(token) for token in tokens}


def _eidolon(coherence: int) -> dict[str, Disarray]:
    reaches = [2**power for power in range(8)]
    return {f"{reach}-{coherence}-10": Disarray(reach, coherence / 10) for reach in reaches}


def _severities(*parameters: P) -> dict[str, P]:
    return {str(level): parameter for level, parameter in enumerate(parameters, start=1)}


_NOISE = ("0.0", "0.03", "0.05", "0.1", "0.2", "0.35", "0.6", "0.9")
_SHARES = ("0.0", "0.1", "0.2", "0.35", "0.5", "0.65", "0.8", "0.95")
_DEGREES = ("0", "30", "60", "90", "120", "150", "180")


def _geirhos(levels: Mapping[str, P], apply: Apply[P]) -> Distortion[P]:
    return Distortion("geirhos", levels, apply, "people")


# Names are those of the data sets of the experiments.
_GEIRHOS: dict[str, Distortion[Any]] = {
    "colour": _geirhos({"cr": True, "bw": False}, _of_picture(_fixed(_colour))),
    "contrast": _geirhos(
        {
            "c100": 1.0,
            "c50": 0.5,
            "c30": 0.3,
            "c15": 0.15,
            "c10": 0.1,
            "c05": 0.05,
            "c03": 0.03,
            "c01": 0.01,
        },
        _of_grey(_fixed(geirhos.contrast)),
    ),
    "high-pass": _geirhos(
        _numbers("inf", "3.0", "1.5", "1.0", "0.7", "0.55", "0.45", "0.4"),
        _of_grey(_fixed(geirhos.high_pass)),
    ),
    "low-pass": _geirhos(
        _numbers("0", "1", "3", "5", "7", "10", "15", "40"), _of_grey(_fixed(geirhos.low_pass))
    ),
    "phase-scrambling": _geirhos(_numbers(*_DEGREES), _of_grey(geirhos.phase_scrambling)),
    "phase-scrambling-published": _geirhos(
        _numbers(*_DEGREES), _of_grey(partial(geirhos.phase_scrambling, mode="published"))
    ),
    "power-equalisation": Distortion(
        "geirhos", {"0": False, "pow": True}, _power_equalisation, "people", "amplitudes"
    ),
    "false-colour": _geirhos({"True": True, "False": False}, _of_picture(_fixed(_false_colour))),
    "rotation": _geirhos(
        {"0": 0, "90": 90, "180": 180, "270": 270}, _of_grey(_fixed(geirhos.rotation))
    ),
    "eidolonI": _geirhos(_eidolon(10), _of_picture(eidolon)),
    "eidolonII": _geirhos(_eidolon(3), _of_picture(eidolon)),
    "eidolonIII": _geirhos(_eidolon(0), _of_picture(eidolon)),
    "uniform-noise": _geirhos(_numbers(*_NOISE), _of_grey(geirhos.uniform_noise)),
    "salt-and-pepper": _geirhos(_numbers(*_SHARES), _of_grey(geirhos.salt_and_pepper)),
}

_LAION_C: dict[str, Distortion[Any]] = {
    "mosaic": Distortion("laion-c", _severities(4, 6, 8, 16, 28), _mosaic, "nothing", "bank"),
    "glitched": Distortion(
        "laion-c",
        _severities(2, 4, 5, 8, 10),
        _of_picture(_fixed(laion_c.glitched)),
        "published rows",
    ),
    "vertical-lines": Distortion(
        "laion-c",
        _severities(*map(laion_c.Lines, (224, 178, 112, 84, 60), (1, 2, 4, 6, 8))),
        _of_picture(_fixed(laion_c.vertical_lines)),
        "published rows",
    ),
    "geometric-shapes": Distortion(
        "laion-c",
        _severities(150, 300, 600, 800, 1000),
        _of_picture(laion_c.geometric_shapes),
        "published rows",
    ),
    "stickers": Distortion(
        "laion-c", _severities(100, 200, 400, 600, 1200), _stickers, "nothing", "bank"
    ),
    "luminance-checkerboard": Distortion(
        "laion-c",
        _severities(*map(laion_c.Shift, (0, 50, 100, 125, 150), (50, 100, 125, 150, 255))),
        _of_picture(laion_c.luminance_checkerboard),
        "published rows",
    ),
}


def _imagenet_c(levels: Mapping[str, P], apply: Apply[P]) -> Distortion[P]:
    return Distortion("imagenet-c", levels, apply, "published rows")


_IMAGENET_C: dict[str, Distortion[Any]] = {
    "gaussian-noise": _imagenet_c(
        _severities(0.08, 0.12, 0.18, 0.26, 0.38), _of_colours(imagenet_c.gaussian_noise)
    ),
    "shot-noise": _imagenet_c(_severities(60, 25, 12, 5, 3), _of_colours(imagenet_c.shot_noise)),
    "impulse-noise": _imagenet_c(
        _severities(0.03, 0.06, 0.09, 0.17, 0.27), _of_colours(imagenet_c.impulse_noise)
    ),
    "defocus-blur": _imagenet_c(
        _severities(*map(imagenet_c.Disk, (3, 4, 6, 8, 10), (0.1, 0.5, 0.5, 0.5, 0.5))),
        _of_colours(_fixed(imagenet_c.defocus_blur)),
    ),
    "glass-blur": _imagenet_c(
        _severities(
            *map(imagenet_c.Glass, (0.7, 0.9, 1, 1.1, 1.5), (1, 2, 2, 3, 4), (2, 1, 3, 2, 2))
        ),
        _of_colours(imagenet_c.glass_blur),
    ),
    "motion-blur": _imagenet_c(
        _severities(*map(imagenet_c.Motion, (10, 15, 15, 15, 20), (3, 5, 8, 12, 15))),
        _of_colours(imagenet_c.motion_blur),
    ),
    "zoom-blur": _imagenet_c(
        _severities(
            *map(imagenet_c.Zoom, (1.11, 1.16, 1.21, 1.26, 1.31), (0.01, 0.01, 0.02, 0.02, 0.03))
        ),
        _of_colours(_fixed(imagenet_c.zoom_blur)),
    ),
    "snow": _imagenet_c(
        _severities(
            weather.Snow(0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            weather.Snow(0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            weather.Snow(0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            weather.Snow(0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            weather.Snow(0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
        _of_colours(weather.snow),
    ),
    "frost": Distortion(
        "imagenet-c",
        _severities(*map(weather.Frost, (1, 0.8, 0.7, 0.65, 0.6), (0.4, 0.6, 0.7, 0.7, 0.75))),
        _of_colours(weather.frosted),
        "nothing",
    ),
    "fog": _imagenet_c(
        _severities(*map(weather.Fog, (1.5, 2, 2.5, 2.5, 3), (2, 2, 1.7, 1.5, 1.4))),
        _of_colours(weather.fog),
    ),
    "brightness": _imagenet_c(
        _severities(0.1, 0.2, 0.3, 0.4, 0.5), _of_colours(_fixed(imagenet_c.brightness))
    ),
    "contrast": _imagenet_c(
        _severities(0.4, 0.3, 0.2, 0.1, 0.05), _of_colours(_fixed(imagenet_c.contrast))
    ),
    "elastic-transform": _imagenet_c(
        _severities(12.5, 16.25, 21.25, 25, 30), _of_colours(imagenet_c.elastic_transform)
    ),
    "pixelate": _imagenet_c(
        _severities(0.6, 0.5, 0.4, 0.3, 0.25), _of_picture(_fixed(imagenet_c.pixelate))
    ),
    "jpeg-compression": _imagenet_c(
        _severities(25, 18, 15, 10, 7), _of_picture(_fixed(imagenet_c.jpeg_compression))
    ),
    "speckle-noise": _imagenet_c(
        _severities(0.15, 0.2, 0.35, 0.45, 0.6), _of_colours(imagenet_c.speckle_noise)
    ),
    "gaussian-blur": _imagenet_c(
        _severities(1, 2, 3, 4, 6), _of_colours(_fixed(imagenet_c.gaussian_blur))
    ),
    "spatter": _imagenet_c(
        _severities(
            weather.Spatter(0.65, 0.3, 4, 0.69, 0.6, mud=False),
            weather.Spatter(0.65, 0.3, 3, 0.68, 0.6, mud=False),
            weather.Spatter(0.65, 0.3, 2, 0.68, 0.5, mud=False),
            weather.Spatter(0.65, 0.3, 1, 0.65, 1.5, mud=True),
            weather.Spatter(0.67, 0.4, 1, 0.65, 1.5, mud=True),
        ),
        _of_colours(weather.spatter),
    ),
    "saturate": _imagenet_c(
        _severities(*map(imagenet_c.Saturation, (0.3, 0.1, 2, 5, 20), (0, 0, 0, 0.1, 0.2))),
        _of_colours(_fixed(imagenet_c.saturate)),
    ),
}

# Geirhos et al. and ImageNet-C both have a "contrast": others carry their family in the name.
DISTORTIONS: Mapping[str, Distortion[Any]] = MappingProxyType(
    _GEIRHOS
    | {f"laion-c-{name}": distortion for name, distortion in _LAION_C.items()}
    | {f"imagenet-c-{name}": distortion for name, distortion in _IMAGENET_C.items()}
)
