"""Refusals of the distortions."""

from __future__ import annotations

from visual_memory_benchmarks.errors import BenchmarkRefusal


class CannotDistort(BenchmarkRefusal):
    """An unknown distortion or level, or a picture or materials that do not fit."""
