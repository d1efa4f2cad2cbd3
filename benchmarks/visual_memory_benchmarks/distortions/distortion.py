"""The description of one distortion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from visual_memory_benchmarks.distortions.bank import Bank
from visual_memory_benchmarks.distortions.picture import Picture

P = TypeVar("P")
Family: TypeAlias = Literal["geirhos", "laion-c", "imagenet-c"]
Peers: TypeAlias = Literal["people", "published rows", "nothing"]


@dataclass(frozen=True, slots=True)
class Materials:
    """Inputs that some distortions need besides the picture."""

    bank: Bank | None = None
    amplitudes: NDArray[np.float64] | None = None  # of ``geirhos.mean_amplitudes``


Apply: TypeAlias = Callable[[Picture, P, np.random.Generator, Materials], Picture]


@dataclass(frozen=True, slots=True)
class Distortion(Generic[P]):
    """A way to distort a picture, with its levels.

    ``levels`` maps the canonical token of each condition to its parameter, in the papers' order.
    ``compares_with`` tells what a result may stand beside: curves of people (a condition as a
    whole, not image by image: they saw other pictures), published rows (with pictures and labels
    of ImageNet), or nothing.
    """

    family: Family
    levels: Mapping[str, P]
    apply: Apply[P]
    compares_with: Peers
    needs: Literal["bank", "amplitudes"] | None = None
