"""Fixtures of the durability tests: a disk that is soon full, and one that fails on command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.durability.faults.faults import Faults, build_library
from tests.index.conftest import small_disk

__all__ = ["small_disk"]


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of ``faults.c``, compiled."""
    return build_library(tmp_path_factory.mktemp("library"))


@pytest.fixture
def faults(library: Path, tmp_path: Path) -> Iterator[Faults]:
    """Faults for the servers whose folder is ``tmp_path / "data"``."""
    faults = Faults(library, tmp_path / "control", tmp_path / "data")
    yield faults
    faults.close()
