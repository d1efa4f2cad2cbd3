"""A server that does not start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.service.conftest import Run, refused

Refuse = Callable[..., str]


@pytest.fixture
def refusal_to_serve(command: Run, tmp_path: Path) -> Refuse:
    """Return a function that has a server refuse to start with flags, and returns the sentence."""
    common = ("--data", tmp_path / "data", "--listen", "127.0.0.1:0", "--erasure", "files")

    def refuse(*flags: str) -> str:
        return refused(command("serve", *common, *flags))

    return refuse
