"""A drift is told with the way out; edits are named only where there were any."""

from __future__ import annotations

import pytest

from visual_memory.types import DriftState
from visual_memory_service.console.drift import sentence


def test_rejections_that_chance_explains_are_only_counted() -> None:
    assert sentence(DriftState(1, 1, 0.05, 0.05, False), stale=True) == (
        "1 of the last 1 calibrated query was rejected, 0.1 were to be expected."
    )


@pytest.mark.parametrize("stale", [False, True])
def test_a_drift_is_named_with_the_way_out(stale: bool) -> None:
    edited = ", or the entries have changed since" if stale else ""

    assert sentence(DriftState(20, 9, 1.04, 0.0001, True), stale=stale) == (
        "9 of the last 20 calibrated queries were rejected, 1.0 were to be expected: drift. These "
        f"pictures are unlike those it was calibrated by{edited}; insert some with labels and "
        "calibrate again, or try --domain. Where entries come in groups, such as frames of a "
        "scene, a calibration by entries without --group-by makes drift, too."
    )
