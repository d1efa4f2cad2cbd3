"""What the distortions refuse."""

from __future__ import annotations

from visual_memory_benchmarks.errors import BenchmarkRefusal


class CannotDistort(BenchmarkRefusal):
    """There is no such distortion or level, or the picture or what else it needs does not fit."""
