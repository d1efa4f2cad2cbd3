"""Experiments on a running service: effects of edits, votings, embedders and distortions.

A module each; imports laboratory and below. Alone: ``make test ROOM=benchmarks/experiments``.
"""

from visual_memory_benchmarks.experiments.registry import EXPERIMENTS
from visual_memory_benchmarks.laboratory.experiment import Experiment
from visual_memory_benchmarks.laboratory.laboratory import Embedder, Laboratory
from visual_memory_benchmarks.laboratory.result import Result

__all__ = ["EXPERIMENTS", "Embedder", "Experiment", "Laboratory", "Result"]
