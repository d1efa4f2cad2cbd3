"""Tests of devices are collected where PyTorch is installed."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

collect_ignore_glob = [] if find_spec("torch") else ["test_*.py"]
if collect_ignore_glob and os.environ.get("CI") == "true":
    raise pytest.UsageError("In CI tests of devices must run: pip install torch before the tests.")
