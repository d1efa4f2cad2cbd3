"""The statistics of all voting entries, to which heads are fitted, kept from their first use on."""

from __future__ import annotations

from collections.abc import Collection

from visual_memory_index.errors import HeadTooLarge
from visual_memory_index.heads.head import check_size
from visual_memory_index.memory.engine import Engine


class HeadStatistics:
    """Counts the entries of a memory in the statistics of its copy in RAM, which then keeps them.

    Heads are of one ``ridge`` each, or of class means if that is None.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def prepare(self, ridge: float | None) -> None:
        """Count all entries for a head with this ``ridge``, which takes long once.

        If the memory is too large for class means, no statistics are kept any more. Raises
        HeadTooLarge.
        """
        with self._engine.reading_ram() as ram:
            labels = len(ram.label_counts)
        try:
            check_size(labels, self._engine.identity.dimension, moment=ridge is not None)
        except HeadTooLarge:
            if ridge is None:
                with self._engine.changing_ram() as ram:
                    ram.counted.drop()
            raise
        self.keep([ridge])

    def keep(self, ridges: Collection[float | None]) -> None:
        """Count all entries for heads with ``ridges``, in parts between which others come."""
        if not ridges:
            return
        moment = any(ridge is not None for ridge in ridges)
        with self._engine.reading_ram() as ram:
            done = ram.counted.has(moment=moment)
        while not done:
            with self._engine.changing_ram() as ram:
                ram.counted.keep(moment=moment)
                done = ram.counted.go_on()
            self._engine.lock.let_in()
