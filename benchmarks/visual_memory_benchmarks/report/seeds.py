"""The seed papers that the benchmarks answer, by number."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from visual_memory_benchmarks.report.section import Section

SEEDS = MappingProxyType(
    {
        1: "Scaling vision transformers to 22 billion parameters (2023)",
        4: "Beyond neural scaling laws: beating power law scaling via data pruning (2022)",
        5: "Intriguing properties of generative classifiers (2023)",
        7: "The developmental trajectory of object recognition robustness (2022)",
        8: "Towards flexible perception with visual memory (2024)",
        10: "How aligned are different alignment metrics? (2024)",
        13: "Neither hype nor gloom do DNNs justice (2023)",
        14: "Can we talk models into seeing the world differently? (2024)",
        15: "Partial success in closing the gap between human and machine vision (2021)",
        18: "LAION-C (2025)",
        22: "Are deep neural networks adequate behavioural models of human visual perception? "
        "(2023)",
        23: "Trivial or impossible: dichotomous data difficulty (2021)",
        25: "Exemplary natural images explain CNN activations better (2020)",
        26: "On the surprising similarities between supervised and self-supervised models (2020)",
        27: "Beyond accuracy: error consistency (2020)",
        28: "Shortcut learning in deep neural networks (2020)",
        29: "Benchmarking robustness in object detection (2019)",
        30: "Comparison-based framework for psychophysics (2019)",
        31: "ImageNet-trained CNNs are biased towards texture (2018)",
        32: "Generalisation in humans and deep neural networks (2018)",
        33: "Comparing DNNs against humans: when the signal gets weaker (2017)",
    }
)
"""What a feature or benchmark comes from."""

ELSEWHERE = MappingProxyType(
    {
        1: "a published row of [Shape bias by category](#shape-bias-by-category)",
        5: "a published row of [Shape bias by category](#shape-bias-by-category)",
        13: "how claims are worded: “human-level” is not said",
        22: "how claims are worded: several measures stand side by side",
        25: "no experiment with people; `explain` gives the supporting and opposing entries of a "
        "decision with their pictures: [curation.md](curation.md)",
    }
)


def answers(sections: Sequence[Section], seed: int) -> list[str]:
    """Return links to the sections, or to another page, that answer the paper number ``seed``."""
    found = [f"[{each.title}](#{each.anchor})" for each in sections if seed in each.papers]
    return [*found, *([ELSEWHERE[seed]] if seed in ELSEWHERE else [])]
