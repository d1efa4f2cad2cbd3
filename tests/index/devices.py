"""The device that tests of devices use: the processor itself, or as ``make test-gpu`` says."""

from __future__ import annotations

import os

import pytest

NAME = "VISUAL_MEMORY_TEST_DEVICE"


def on_device() -> str:
    """Return the name of the device; skip where PyTorch is missing, or finds no such GPU."""
    torch = pytest.importorskip("torch")
    name = os.environ.get(NAME, "cpu")
    if name != "cpu" and not torch.cuda.is_available():
        pytest.skip(f"{NAME} is {name}, and PyTorch finds no GPU", allow_module_level=True)
    return name
