"""It is known whether BLAS may hold vectors, since all are multiplied in one place."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import visual_memory_index
from visual_memory_index.rows.multiply import multiply, take_note

PACKAGE = Path(visual_memory_index.__file__).parent
BY_BLAS = re.compile(
    r"[\w)\]] @ |@=|np\.(matmul|dot|vdot|inner|tensordot|linalg\.multi_dot)\b|\.dot\("
)
ALLOWED = {"rows/multiply.py", "scan/indexes.py"}  # the second overwrites what the first left


def test_the_widest_product_is_noted_until_the_note_is_taken() -> None:
    take_note()
    rows, out = np.eye(3), np.empty((3, 3))

    assert take_note() == 0
    assert multiply(rows, 2 * rows, out=out) is out
    multiply(np.ones((1, 2)), np.ones((2, 5)))
    assert out.tolist() == (2 * rows).tolist()
    assert take_note() == 3
    assert take_note() == 0


def test_a_product_is_noted_though_the_note_is_taken_while_it_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    matmul = np.matmul

    def taken(*matrices: Any, **given: Any) -> Any:
        take_note()
        return matmul(*matrices, **given)

    monkeypatch.setattr(np, "matmul", taken)
    multiply(np.eye(3), np.eye(3))

    assert take_note() == 3


def test_nothing_else_multiplies() -> None:
    multiplying = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if any(BY_BLAS.search(line) for line in path.read_text().splitlines() if "``" not in line)
    }

    assert multiplying == ALLOWED
