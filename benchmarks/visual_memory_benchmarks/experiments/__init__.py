"""What editing a memory does to its decisions, asked of a running service."""

from visual_memory_benchmarks.experiments.registry import EXPERIMENTS
from visual_memory_benchmarks.laboratory.experiment import Experiment
from visual_memory_benchmarks.laboratory.laboratory import Embedder, Laboratory
from visual_memory_benchmarks.laboratory.result import Result

__all__ = ["EXPERIMENTS", "Embedder", "Experiment", "Laboratory", "Result"]
