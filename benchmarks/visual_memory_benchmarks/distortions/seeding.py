"""The random generator of one picture under one distortion at one level."""

from __future__ import annotations

import hashlib
import json

import numpy as np


def generator(seed: int, name: str, level: str, picture_id: str) -> np.random.Generator:
    """Make a generator whose numbers depend on these four alone, not on order, batch or process."""
    identity = json.dumps([seed, name, level, picture_id]).encode()
    digest = hashlib.blake2b(identity, digest_size=32).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))
