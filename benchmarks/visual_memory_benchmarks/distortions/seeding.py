"""The generator of one picture under one distortion at one level, whatever was drawn before it."""

from __future__ import annotations

import hashlib
import json

import numpy as np


def generator(seed: int, name: str, level: str, picture_id: str) -> np.random.Generator:
    """Its numbers depend on these four alone, not on order, batch or process."""
    identity = json.dumps([seed, name, level, picture_id]).encode()
    digest = hashlib.blake2b(identity, digest_size=32).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))
