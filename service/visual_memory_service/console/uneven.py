"""Uneven memories: a hint for those where frequent labels may crowd out rare ones."""

from __future__ import annotations

from argparse import Namespace

from visual_memory.types import MemoryInfo

RATIO = 10  # of the entries of the largest label to those of the smallest
GAP = 0.05  # between the accuracy and the mean of the labels' accuracies


def hint(memory: MemoryInfo, accuracy: float, macro: float, options: Namespace) -> str | None:
    """Return one line about an uneven memory, with flags to try that its rule lacks, or None.

    The rule is that of the ``options``, or what they leave open the default of the ``memory``;
    ``macro`` is the mean of the labels' accuracies.
    """
    default = memory.default_rule.rule if memory.default_rule else None
    balance = default.balance if default and options.balance is None else options.balance
    head = default.head if default and options.head is None else options.head
    tries = {}
    if not balance:
        tries["a balance"] = "--balance 0.5"
    if head in (None, "none"):
        tries["a head"] = "--head means"
    sizes = [
        voting
        for label, count in memory.labels.items()
        if (voting := count - memory.pruned_labels.get(label, 0))
    ]
    smallest, largest = min(sizes, default=1), max(sizes, default=1)
    if not tries or (largest < RATIO * smallest and abs(accuracy - macro) < GAP):
        return None
    return (
        f"Labels have {smallest:,} to {largest:,} entries, and the mean of their accuracies is "
        f"{macro:.2%}: {' or '.join(tries)} may pay, try {' or '.join(tries.values())}; "
        f"visual-memory tune {memory.name}   compares them."
    )
