"""Uneven memories: a hint for those where frequent labels may crowd out rare ones."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping

RATIO = 10  # of the entries of the largest label to those of the smallest
GAP = 0.05  # between the accuracy and the mean of the labels' accuracies


def hint(sizes: Mapping[str, int], accuracy: float, macro: float, options: Namespace) -> str | None:
    """Return one line about an uneven memory, with flags to try that ``options`` lack, or None.

    ``sizes`` are the voting entries of each label, ``macro`` is the mean of the labels' accuracies.
    """
    tries = {}
    if not options.balance:
        tries["a balance"] = "--balance 0.5"
    if options.head in (None, "none"):
        tries["a head"] = "--head means"
    smallest, largest = min(sizes.values(), default=1), max(sizes.values(), default=1)
    if not tries or (largest < RATIO * smallest and abs(accuracy - macro) < GAP):
        return None
    return (
        f"Labels have {smallest:,} to {largest:,} entries, and the mean of their accuracies is "
        f"{macro:.2%}: {' or '.join(tries)} may pay, try {' or '.join(tries.values())}."
    )
