"""The table of distortions, and the function that applies them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visual_memory_benchmarks.distortions import geirhos, imagenet_c, laion_c, opponent, weather
from visual_memory_benchmarks.distortions.distortion import (
    Distortion,
    Form,
    Materials,
    Need,
    Peers,
)
from visual_memory_benchmarks.distortions.eidolon import Disarray, eidolon
from visual_memory_benchmarks.distortions.picture import SIDE_MIN, Floats, Picture, grey, shown
from visual_memory_benchmarks.errors import CannotDistort

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
    return distortion.apply(picture, level, rng, materials)


def generator(seed: int, name: str, level: str, picture_id: str) -> np.random.Generator:
    """Make a generator whose numbers depend on the arguments alone, not on order or process."""
    identity = json.dumps([seed, name, level, picture_id]).encode()
    digest = hashlib.blake2b(identity, digest_size=32).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))


def _colour(picture: Picture, kept: bool) -> Picture:
    return picture if kept else shown(grey(picture))


def _false_colour(picture: Picture, true: bool) -> Picture:
    return picture if true else opponent.opponent_colours(picture)


def _power_equalisation(plane: Floats, equalised: bool, amplitudes: NDArray[np.float64]) -> Floats:
    return geirhos.power_equalisation(plane, amplitudes) if equalised else plane


def _numbers(*tokens: str) -> dict[str, float]:
    return {token: float(token) for token in tokens}


def _eidolon(coherence: int) -> Distortion:
    reaches = [2**power for power in range(8)]
    levels = {f"{reach}-{coherence}-10": Disarray(reach, coherence / 10) for reach in reaches}
    return _geirhos(eidolon, levels, "picture")


def _geirhos(
    function: Callable[..., Any],
    levels: Mapping[str, Any],
    form: Form = "grey",
    needs: Need | None = None,
) -> Distortion:
    return Distortion("geirhos", levels, function, form, "people", needs)


def _severities(parameters: tuple[Any, ...]) -> dict[str, Any]:
    return {str(level): parameter for level, parameter in enumerate(parameters, start=1)}


def _laion_c(
    function: Callable[..., Picture], *parameters: Any, needs: Need | None = None
) -> Distortion:
    peers: Peers = "nothing" if needs else "published rows"
    return Distortion("laion-c", _severities(parameters), function, "picture", peers, needs)


def _imagenet_c(
    function: Callable[..., Any],
    *parameters: Any,
    form: Form = "colours",
    compares_with: Peers = "published rows",
) -> Distortion:
    return Distortion("imagenet-c", _severities(parameters), function, form, compares_with)


_DEGREES = _numbers("0", "30", "60", "90", "120", "150", "180")

# Names are those of the data sets of the experiments.
_GEIRHOS = {
    "colour": _geirhos(_colour, {"cr": True, "bw": False}, "picture"),
    "contrast": _geirhos(
        geirhos.contrast, {f"c{each:02}": each / 100 for each in (100, 50, 30, 15, 10, 5, 3, 1)}
    ),
    "high-pass": _geirhos(
        geirhos.high_pass, _numbers("inf", "3.0", "1.5", "1.0", "0.7", "0.55", "0.45", "0.4")
    ),
    "low-pass": _geirhos(geirhos.low_pass, _numbers("0", "1", "3", "5", "7", "10", "15", "40")),
    "phase-scrambling": _geirhos(geirhos.phase_scrambling, _DEGREES),
    "phase-scrambling-published": _geirhos(
        partial(geirhos.phase_scrambling, mode="published"), _DEGREES
    ),
    "power-equalisation": _geirhos(
        _power_equalisation, {"0": False, "pow": True}, needs="amplitudes"
    ),
    "false-colour": _geirhos(_false_colour, {"True": True, "False": False}, "picture"),
    "rotation": _geirhos(geirhos.rotation, {"0": 0, "90": 90, "180": 180, "270": 270}),
    "eidolonI": _eidolon(10),
    "eidolonII": _eidolon(3),
    "eidolonIII": _eidolon(0),
    "uniform-noise": _geirhos(
        geirhos.uniform_noise, _numbers("0.0", "0.03", "0.05", "0.1", "0.2", "0.35", "0.6", "0.9")
    ),
    "salt-and-pepper": _geirhos(
        geirhos.salt_and_pepper,
        _numbers("0.0", "0.1", "0.2", "0.35", "0.5", "0.65", "0.8", "0.95"),
    ),
}
_LAION_C = {
    "mosaic": _laion_c(laion_c.mosaic, 4, 6, 8, 16, 28, needs="bank"),
    "glitched": _laion_c(laion_c.glitched, 2, 4, 5, 8, 10),
    "vertical-lines": _laion_c(
        laion_c.vertical_lines, (224, 1), (178, 2), (112, 4), (84, 6), (60, 8)
    ),
    "geometric-shapes": _laion_c(laion_c.geometric_shapes, 150, 300, 600, 800, 1000),
    "stickers": _laion_c(laion_c.stickers, 100, 200, 400, 600, 1200, needs="bank"),
    "luminance-checkerboard": _laion_c(
        laion_c.luminance_checkerboard, (0, 50), (50, 100), (100, 125), (125, 150), (150, 255)
    ),
}
_IMAGENET_C = {
    "gaussian-noise": _imagenet_c(imagenet_c.gaussian_noise, 0.08, 0.12, 0.18, 0.26, 0.38),
    "shot-noise": _imagenet_c(imagenet_c.shot_noise, 60, 25, 12, 5, 3),
    "impulse-noise": _imagenet_c(imagenet_c.impulse_noise, 0.03, 0.06, 0.09, 0.17, 0.27),
    "defocus-blur": _imagenet_c(
        imagenet_c.defocus_blur, (3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)
    ),
    "glass-blur": _imagenet_c(
        imagenet_c.glass_blur, (0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)
    ),
    "motion-blur": _imagenet_c(
        imagenet_c.motion_blur, (10, 3), (15, 5), (15, 8), (15, 12), (20, 15)
    ),
    "zoom-blur": _imagenet_c(
        imagenet_c.zoom_blur, (1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)
    ),
    "snow": _imagenet_c(
        weather.snow,
        weather.Snow(0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        weather.Snow(0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        weather.Snow(0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        weather.Snow(0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        weather.Snow(0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    ),
    "frost": _imagenet_c(
        weather.frosted,
        *((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
        compares_with="nothing",
    ),
    "fog": _imagenet_c(weather.fog, (1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    "brightness": _imagenet_c(imagenet_c.brightness, 0.1, 0.2, 0.3, 0.4, 0.5),
    "contrast": _imagenet_c(imagenet_c.contrast, 0.4, 0.3, 0.2, 0.1, 0.05),
    "elastic-transform": _imagenet_c(imagenet_c.elastic_transform, 12.5, 16.25, 21.25, 25, 30),
    "pixelate": _imagenet_c(imagenet_c.pixelate, 0.6, 0.5, 0.4, 0.3, 0.25, form="picture"),
    "jpeg-compression": _imagenet_c(imagenet_c.jpeg_compression, 25, 18, 15, 10, 7, form="picture"),
    "speckle-noise": _imagenet_c(imagenet_c.speckle_noise, 0.15, 0.2, 0.35, 0.45, 0.6),
    "gaussian-blur": _imagenet_c(imagenet_c.gaussian_blur, 1, 2, 3, 4, 6),
    "spatter": _imagenet_c(
        weather.spatter,
        weather.Spatter(0.65, 0.3, 4, 0.69, 0.6, mud=False),
        weather.Spatter(0.65, 0.3, 3, 0.68, 0.6, mud=False),
        weather.Spatter(0.65, 0.3, 2, 0.68, 0.5, mud=False),
        weather.Spatter(0.65, 0.3, 1, 0.65, 1.5, mud=True),
        weather.Spatter(0.67, 0.4, 1, 0.65, 1.5, mud=True),
    ),
    "saturate": _imagenet_c(imagenet_c.saturate, (0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
}

# Geirhos et al. and ImageNet-C both have a "contrast": others carry their family in the name.
DISTORTIONS: Mapping[str, Distortion] = MappingProxyType(
    _GEIRHOS
    | {f"laion-c-{name}": distortion for name, distortion in _LAION_C.items()}
    | {f"imagenet-c-{name}": distortion for name, distortion in _IMAGENET_C.items()}
)
COMMON = tuple(f"imagenet-c-{name}" for name in _IMAGENET_C)[:15]
"""The corruptions that means are taken over; the other four are for choosing parameters."""
