"""Progress bars of tqdm, in a notebook or on a terminal (extra ``notebook``)."""

from __future__ import annotations

from typing import Any


class Bar:
    """A progress bar for the ``progress`` of a call: ``memory.insert(..., progress=Bar())``.

    ``description`` stands before it. It appears with the first report, and stays once all is done;
    used for another call, it is another bar. Raises ImportError where tqdm is not installed.
    """

    def __init__(self, description: str = "") -> None:
        try:
            from tqdm.auto import tqdm
        except ImportError:
            raise ImportError(
                "A progress bar needs tqdm: pip install 'visual-memory[notebook]'."
            ) from None
        self._new, self._description = tqdm, description
        self._bar: Any = None

    def __call__(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` steps are done."""
        if self._bar is None:
            self._bar = self._new(total=total, desc=self._description or None)
        self._bar.total = total
        self._bar.update(done - self._bar.n)
        if done >= total:
            self._bar.close()
            self._bar = None
