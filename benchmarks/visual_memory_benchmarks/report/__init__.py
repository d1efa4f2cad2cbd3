"""One page of all results, with pictures, made from what was written and from nothing else."""

from visual_memory_benchmarks.report.page import write

__all__ = ["write"]
