"""Distortions by released code, with the random numbers that ours draw.

Two packages come from the index. Two repositories released their distortions as files: of these
only the functions and constants that are named here are run, and no other code.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from replay import Given, Numpy, Replay

from visual_memory_benchmarks.distortions.filters import normals
from visual_memory_benchmarks.distortions.geirhos import NOISE_CONTRAST
from visual_memory_benchmarks.distortions.opponent import MONITOR
from visual_memory_benchmarks.distortions.picture import Picture
from visual_memory_benchmarks.distortions.registry import DISTORTIONS

try:
    import imagecorruptions.corruptions as corruptions
    from glitch_this import ImageGlitcher
    from scipy import fftpack
    from scipy.ndimage import gaussian_filter
    from skimage.color import rgb2gray
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"{missing.name} is not installed here: `make distances` runs this in an environment with "
        "it."
    ) from None

LAION_C = "FanfeiLi/LAION-C"
GEIRHOS = "rgeirhos/generalisation-humans-DNNs"
FILES = {
    LAION_C: (Path("LAION-C/distortions/apply_distortions.py"), "3c6cad5f"),
    GEIRHOS: (Path("generalisation-humans-DNNs/code/image_manipulation.py"), "0977daa0"),
}
"""The file in the folder of checkouts, and the commit that was measured."""

Peer = Callable[[Picture, str, np.random.Generator], Picture]


@dataclass(frozen=True, slots=True)
class Released:
    """A distortion made by released code; ``source`` names the code, ``make`` runs it.

    ``same_draws`` is True if the code gets the random numbers that ours draws.
    """

    source: str
    make: Peer
    same_draws: bool = True


class Source:
    """The named functions and constants of a source file, run without the rest of the file.

    ``names`` stand in for its imports.
    """

    def __init__(self, path: Path, **names: Any) -> None:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        kept: list[ast.stmt] = [
            each for each in tree.body if isinstance(each, ast.FunctionDef | ast.Assign)
        ]
        self._code = compile(ast.Module(kept, []), str(path), "exec")
        self._names = names

    def with_numpy(self, numpy: Any) -> Mapping[str, Any]:
        """Return the functions and constants by name, run with ``numpy`` in place of NumPy."""
        space = {**self._names, "np": numpy}
        exec(self._code, space)
        return space


def table(folder: Path, amplitudes: NDArray[np.float64]) -> dict[str, Released]:
    """Map names of our distortions to their released counterparts.

    Files are read from checkouts in ``folder``; ``amplitudes`` are the mean amplitudes for
    ``power_equalisation``. Raises SystemExit if a file is missing.
    """
    for repository, (path, commit) in FILES.items():
        if not (folder / path).is_file():
            raise SystemExit(
                f"{folder / path} is not there: check out https://github.com/{repository} at "
                f"{commit} in {folder}."
            )
    laion_c = Source(folder / FILES[LAION_C][0], Image=Image, ImageDraw=ImageDraw, math=math)
    geirhos = Source(
        folder / FILES[GEIRHOS][0],
        rgb2gray=rgb2gray,
        rgb2grey=rgb2gray,
        gaussian_filter=gaussian_filter,
        fp=fftpack,
    )
    return {**_geirhos(geirhos, amplitudes), **_laion_c(laion_c), **_imagenet_c()}


def _geirhos(source: Source, amplitudes: NDArray[np.float64]) -> dict[str, Released]:
    """Return the released distortions of Geirhos et al. by the names of ours.

    ``amplitudes`` are as returned by ``geirhos.mean_amplitudes``.
    """
    plain = source.with_numpy(np)
    centred = np.fft.fftshift(amplitudes)
    light = MONITOR.astype(np.float64)

    def passed(image: Any, sigma: float, kind: str) -> Any:
        return (
            rgb2gray(image) if sigma in (0, np.inf) else plain[f"{kind}_pass_filter"](image, sigma)
        )

    makes: dict[str, Callable[[Any, Any, Replay], Any]] = {
        "colour": lambda image, kept, _: image if kept else rgb2gray(image),
        "contrast": lambda image, level, _: plain["grayscale_contrast"](image, level),
        "high-pass": lambda image, sigma, _: passed(image, sigma, "high"),
        "low-pass": lambda image, sigma, _: passed(image, sigma, "low"),
        "phase-scrambling-published": lambda image, degrees, replay: source.with_numpy(
            Numpy(replay)
        )["phase_scrambling"](image, degrees),
        "power-equalisation": lambda image, chosen, _: (
            plain["power_equalisation"](image, centred) if chosen else rgb2gray(image)
        ),
        "false-colour": lambda image, true, _: (
            image if true else plain["false_colour"](image, light)
        ),
        "rotation": lambda image, degrees, _: (
            plain[f"rotate{degrees}"](image) if degrees else rgb2gray(image)
        ),
        "uniform-noise": lambda image, width, replay: plain["uniform_noise"](
            image, width, NOISE_CONTRAST, replay
        ),
        "salt-and-pepper": lambda image, share, replay: plain["salt_and_pepper_noise"](
            image, share, NOISE_CONTRAST, replay
        ),
    }

    def peer(name: str, picture: Picture, level: str, rng: np.random.Generator) -> Picture:
        found = makes[name](picture / 255.0, DISTORTIONS[name].levels[level], Replay(rng))
        saved: Picture = (np.clip(found, 0, 1) * 255 + 0.5).astype(np.uint8)  # as SciPy's toimage
        return saved if saved.ndim == 3 else np.repeat(saved[..., np.newaxis], 3, axis=2)

    return {name: Released(GEIRHOS, partial(peer, name)) for name in makes}


def _laion_c(source: Source) -> dict[str, Released]:
    def glitched(picture: Picture, level: str, _: np.random.Generator) -> Picture:
        amount = DISTORTIONS["laion-c-glitched"].levels[level]
        options = {"scan_lines": True, "color_offset": True, "seed": 1}
        image = ImageGlitcher().glitch_image(Image.fromarray(picture), amount, **options)
        return np.array(image)

    def lines(picture: Picture, level: str, _: np.random.Generator) -> Picture:
        image = Image.fromarray(picture)
        return np.array(source.with_numpy(np)["draw_vertical_lines"](image, int(level)))

    def shapes(picture: Picture, level: str, rng: np.random.Generator) -> Picture:
        count = DISTORTIONS["laion-c-geometric-shapes"].levels[level]
        drawn = Replay(rng, _shapes(rng, count, picture.shape))
        paste = source.with_numpy(Numpy(drawn))["paste_shapes"]
        return np.array(paste(Image.fromarray(picture), count))

    def luminance(picture: Picture, level: str, rng: np.random.Generator) -> Picture:
        batch = (picture / np.float32(255)).transpose(2, 0, 1)[np.newaxis].copy()
        change = source.with_numpy(Numpy(Replay(rng)))["luminance_augmentation"]
        _, changed = change(batch, int(level), "")
        stored: Picture = (changed[0].transpose(1, 2, 0) * 255).clip(0, 255).astype(np.uint8)
        return stored

    return {
        "laion-c-glitched": Released("glitch_this 1.0.3", glitched),
        "laion-c-vertical-lines": Released(LAION_C, lines),
        "laion-c-geometric-shapes": Released(LAION_C, shapes),
        "laion-c-luminance-checkerboard": Released(LAION_C, luminance),
    }


def _shapes(rng: np.random.Generator, count: int, shape: tuple[int, ...]) -> Iterator[Any]:
    """Yield the random numbers of ``count`` shapes that our ``geometric_shapes`` draws.

    They come in the order in which the released code draws them.
    """
    height, width = shape[:2]
    kinds = rng.integers(0, 4, count).tolist()
    places = rng.integers(0, (width, height), (count, 2)).tolist()
    sizes = rng.integers(6, 16, count).tolist()
    colours = rng.integers(0, 256, (count, 3)).tolist()
    degrees = rng.integers(0, 360, count).tolist()
    for kind, (x, y), size, colour, turn in zip(
        kinds, places, sizes, colours, degrees, strict=True
    ):
        yield from (kind, x, y, size, colour, turn)


def _imagenet_c() -> dict[str, Released]:
    found = {
        f"imagenet-c-{name.replace('_', '-')}": Released(
            "imagecorruptions-imaug 1.1.5", partial(_corrupted, name), name != "frost"
        )
        for name in (
            *("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"),
            *("defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "gaussian_blur"),
            *("snow", "frost", "fog", "brightness", "contrast", "elastic_transform"),
            *("pixelate", "jpeg_compression", "spatter", "saturate"),
        )
    }
    corruptions._shuffle_pixels_njit_glass_blur = (
        corruptions._shuffle_pixels_njit_glass_blur.py_func
    )
    return found


def _corrupted(name: str, picture: Picture, level: str, rng: np.random.Generator) -> Picture:
    parameter = DISTORTIONS[f"imagenet-c-{name.replace('_', '-')}"].levels[level]
    options: dict[str, Any] = {}
    replay = Replay(rng)
    match name:
        case "impulse_noise":
            drawn = rng.random(picture.shape, np.float32)
            options["seed"] = Given([drawn, np.where(drawn < parameter / 2, 0, 1)])
        case "elastic_transform":
            down, across = rng.random((2, *picture.shape[:2]), np.float32)
            replay = Replay(rng, [across, down])
        case "glass_blur":
            options["seed"] = 0
            _, shift, times = parameter
            replay = Replay(rng, _shifts(rng, shift, times, picture.shape))
        case "snow":
            replay = Replay(rng, [normals(rng, picture.shape[:2])])
    corruptions.np = Numpy(replay)
    found = getattr(corruptions, name)(Image.fromarray(picture), int(level), **options)
    return np.asarray(found).astype(np.uint8)


def _shifts(
    rng: np.random.Generator, shift: int, times: int, shape: tuple[int, ...]
) -> Iterator[tuple[int, int]]:
    """Yield the shifts (across, down) that ``glass_blur`` draws for an image of ``shape``.

    They come in ``times`` passes, each from the last pixel backwards.
    """
    for _ in range(times):
        down, across = rng.integers(-shift, shift, (2, shape[0] - 2 * shift, shape[1] - 2 * shift))
        yield from zip(across.ravel()[::-1].tolist(), down.ravel()[::-1].tolist(), strict=True)
