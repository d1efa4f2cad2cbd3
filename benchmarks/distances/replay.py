"""Replay of our random numbers to released code that uses ``numpy.random``.

Released code calls the module ``numpy.random``, and no seed makes it return the numbers of a
``Generator``. So the code gets a NumPy in which that module is a ``Replay``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visual_memory_benchmarks.distortions.filters import normals

Shape = int | tuple[int, ...] | None


class Replay:
    """A stand-in for ``numpy.random``: returns ``drawn`` in order, then numbers from ``rng``."""

    def __init__(self, rng: np.random.Generator, drawn: Iterable[Any] = ()) -> None:
        self._rng, self._drawn = rng, deque(drawn)

    def seed(self, seed: object = None) -> None:
        """Ignore the seed, as the numbers are given."""

    def normal(self, loc: float = 0, scale: float = 1, size: Any = None) -> NDArray[Any]:
        drawn = self._drawn.popleft() if self._drawn else normals(self._rng, tuple(size))
        result: NDArray[Any] = loc + scale * drawn
        return result

    def uniform(self, low: float = 0, high: float = 1, size: Shape = None) -> Any:
        if self._drawn:
            drawn = self._drawn.popleft()
        elif size is None:
            drawn = self._rng.random()
        else:
            drawn = self._rng.random(size, np.float32)
        return low + (high - low) * drawn

    def random(self, size: Shape = None) -> Any:
        return self._drawn.popleft() if self._drawn else self._rng.random(size)

    def poisson(self, lam: NDArray[Any]) -> NDArray[Any]:
        return self._rng.poisson(lam)

    def randint(self, low: int, high: int | None = None, size: Shape = None) -> Any:
        return self._drawn.popleft() if self._drawn else int(self._rng.integers(low, high))

    def choice(self, choices: list[str]) -> str:
        chosen: str = choices[self._drawn.popleft()]
        return chosen


class Numpy:
    """NumPy with a stand-in, such as a ``Replay``, for its module ``random``."""

    def __init__(self, random: Replay) -> None:
        self.random = random

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


class Given(np.random.Generator):
    """A generator whose ``random`` returns the given arrays in order."""

    def __init__(self, drawn: Iterable[NDArray[Any]]) -> None:
        super().__init__(np.random.PCG64())
        self._given = deque(drawn)

    def random(self, *_: Any, **__: Any) -> Any:
        return self._given.popleft()
