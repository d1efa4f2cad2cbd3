"""The description of one distortion."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from visual_memory_benchmarks.distortions.bank import Bank
from visual_memory_benchmarks.distortions.picture import Picture, grey, shown, unit

Family: TypeAlias = Literal["geirhos", "laion-c", "imagenet-c"]
Peers: TypeAlias = Literal["people", "published rows", "nothing"]
Form: TypeAlias = Literal["picture", "grey", "colours"]
Need: TypeAlias = Literal["bank", "amplitudes"]


@dataclass(frozen=True, slots=True)
class Materials:
    """The inputs that some distortions need besides the picture; None if no distortion needs it.

    ``bank`` has thumbnails to paste, ``amplitudes`` the mean Fourier amplitudes of a set of
    pictures.
    """

    bank: Bank | None = None
    amplitudes: NDArray[np.float64] | None = None  # of ``geirhos.mean_amplitudes``


@dataclass(frozen=True, slots=True)
class Distortion:
    """A way to distort a picture, with its levels.

    ``levels`` maps the canonical token of each condition to its parameter, or a tuple of several,
    in the papers' order. ``function`` takes a picture, its grey or its colours in [0, 1] (as
    ``form`` says), then the parameters, then by keyword ``rng`` if it draws numbers, and what it
    ``needs``. ``compares_with`` names what results may be compared with: curves of people (a
    condition as a whole, not single images: people saw other pictures), published rows (if pictures
    and labels are ImageNet's), or nothing.
    """

    family: Family
    levels: Mapping[str, Any]
    function: Callable[..., Any]
    form: Form
    compares_with: Peers
    needs: Need | None = None

    def apply(
        self, picture: Picture, level: str, rng: np.random.Generator, materials: Materials
    ) -> Picture:
        """Distort a picture at a level; ``materials`` must hold what the distortion ``needs``."""
        parameter = self.levels[level]
        parameters = parameter if isinstance(parameter, tuple) else (parameter,)
        others: dict[str, Any] = {}
        if "rng" in inspect.signature(self.function).parameters:
            others["rng"] = rng
        if self.needs:
            others[self.needs] = getattr(materials, self.needs)
        if self.form == "picture":
            distorted: Picture = self.function(picture, *parameters, **others)
            return distorted
        image = (grey if self.form == "grey" else unit)(picture)
        return shown(self.function(image, *parameters, **others))
