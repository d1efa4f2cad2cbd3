"""Distortions of pictures whose effect on people or networks is published.

Imports errors alone. Alone: ``make test ROOM=benchmarks/distortions``.
"""

from visual_memory_benchmarks.distortions.bank import Bank
from visual_memory_benchmarks.distortions.distortion import Distortion, Materials
from visual_memory_benchmarks.distortions.geirhos import mean_amplitudes
from visual_memory_benchmarks.distortions.picture import Picture, framed, scaled
from visual_memory_benchmarks.distortions.registry import DISTORTIONS, distort
from visual_memory_benchmarks.errors import CannotDistort

__all__ = [
    "DISTORTIONS",
    "Bank",
    "CannotDistort",
    "Distortion",
    "Materials",
    "Picture",
    "distort",
    "framed",
    "mean_amplitudes",
    "scaled",
]
