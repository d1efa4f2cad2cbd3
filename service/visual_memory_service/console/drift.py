"""Drift: a sentence about the pictures that a calibrated memory rejected of late."""

from __future__ import annotations

from visual_memory.terminal.output import plural
from visual_memory.types import DriftState


def sentence(drift: DriftState, *, stale: bool) -> str:
    """Describe the rejections of the last calibrated queries; if they are many, with a way out.

    ``stale`` is True if entries were changed since the calibration.
    """
    were = "was" if drift.rejected == 1 else "were"
    told = (
        f"{drift.rejected} of the last {plural(drift.count, 'calibrated query')} {were} rejected, "
        f"{drift.expected:.1f} were to be expected"
    )
    if not drift.drifting:
        return f"{told}."
    edited = ", or the entries have changed since" if stale else ""
    return (
        f"{told}: drift. These pictures are unlike those it was calibrated by{edited}; insert some "
        "with labels and calibrate again, or try --domain. Where entries come in groups, such as "
        "frames of a scene, a calibration by entries without --group-by makes drift, too."
    )
