"""The mask under which patterns are kept, or the search would find them in its own memory."""

from __future__ import annotations

import numpy as np

MASK = 0xA5


def masked(data: bytes | memoryview) -> bytes:
    """XOR bytes with MASK, which masks them, or unmasks masked bytes."""
    return (np.frombuffer(data, np.uint8) ^ np.uint8(MASK)).tobytes()
