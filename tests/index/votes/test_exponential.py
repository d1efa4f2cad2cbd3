"""Powers of e are right to the last place, and the same on every processor."""

from __future__ import annotations

import os
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_memory_index.votes.exponential import exp

WEIGHTS = """
import hashlib
import numpy as np
from visual_memory_index import VOTINGS
distances = np.random.default_rng(5).uniform(0, 2, (200, 50))
print([hashlib.sha256(rule(distances).tobytes()).hexdigest() for rule in VOTINGS.values()])
"""


@given(st.floats(-20, 20))
def test_it_is_off_by_one_unit_in_the_last_place_at_most(power: float) -> None:
    exact = float(Decimal(power).exp())

    assert abs(exp(np.array([power]))[0] - exact) <= np.spacing(exact)


@pytest.mark.parametrize("power", [0.0, -0.0])
def test_the_power_0_is_1(power: float) -> None:
    assert exp(np.array([power])).tolist() == [1.0]


def test_nearer_never_counts_less() -> None:
    powers = np.random.default_rng(0).uniform(-15, 15, 100_000)
    powers.sort()

    assert (np.diff(exp(powers)) >= 0).all()


def test_votes_have_the_same_bits_whatever_the_processor_can_do() -> None:
    def weights(without: str) -> str:
        environment = {**os.environ, "NPY_DISABLE_CPU_FEATURES": without}
        command = [sys.executable, "-c", WEIGHTS]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        ).stdout

    numpy = vars(sys.modules["numpy._core._multiarray_umath"])
    features = [name for name in numpy["__cpu_dispatch__"] if numpy["__cpu_features__"][name]]

    assert features
    assert weights(" ".join(features)) == weights("")
