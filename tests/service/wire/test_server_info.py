"""A server tells what a client has to know of it."""

from __future__ import annotations

import visual_memory
from visual_memory import Client
from visual_memory_index.codes.groups import INSTRUCTIONS


def test_the_instructions_are_those_of_the_processor(client: Client) -> None:
    info = client.server_info()

    assert info.version == visual_memory.__version__
    assert info.instructions == INSTRUCTIONS
    assert INSTRUCTIONS in ("avx512", "avx2", "serial")
