"""A client of the server that tests share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

import visual_memory
from visual_memory import Client

if TYPE_CHECKING:
    from tests.conftest import Server


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with visual_memory.connect(server.address) as client:
        yield client
