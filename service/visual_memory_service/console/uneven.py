"""Uneven memories: a hint for those where frequent labels may crowd out rare ones."""

from __future__ import annotations

from collections.abc import Mapping

RATIO = 10  # of the entries of the largest label to those of the smallest
GAP = 0.05  # between the accuracy and the mean of the labels' accuracies


def hint(sizes: Mapping[str, int], accuracy: float, macro: float, memory: str) -> str | None:
    """Return one line about an uneven ``memory``, with the command that may help, or None.

    ``sizes`` are the voting entries of each label, ``macro`` is the mean of the labels' accuracies.
    """
    smallest, largest = min(sizes.values(), default=1), max(sizes.values(), default=1)
    if macro == 1.0 or (largest < RATIO * smallest and abs(accuracy - macro) < GAP):
        return None
    return (
        f"Labels have {smallest:,} to {largest:,} entries, and the mean of their accuracies is "
        f"{macro:.2%}: visual-memory tune {memory}   looks for a rule that does better."
    )
