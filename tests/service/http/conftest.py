"""A server that answers HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.web import WebServer


@pytest.fixture(scope="package")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    """A server for all tests that change nothing but memories of their own."""
    server = WebServer(tmp_path_factory.mktemp("web") / "data", "--erasure", "files")
    yield server
    assert server.end() == 0
    assert "Traceback" not in server.last_log
