"""Drift of what a memory is asked since its calibration."""

from __future__ import annotations

from visual_memory_index.votes import drift
from visual_memory_service.decisions.calibration import calibration_of
from visual_memory_service.runtime.served_memory import ServedMemory


def drift_of(served: ServedMemory) -> drift.Drift | None:
    """Compare the rejections of a memory's last queries with what its calibration lets expect.

    Returns None if it has no calibration.
    """
    calibration = calibration_of(served)
    if calibration is None:
        return None
    count, rejected = served.rejections.counts(calibration.created_at)
    return drift.drift(count, rejected, calibration.group_count)
