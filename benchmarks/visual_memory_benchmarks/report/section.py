"""A part of the page: what it says of which results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from visual_memory_benchmarks.report.findings import Findings
from visual_memory_benchmarks.report.picture import Picture

Block: TypeAlias = str | Picture


@dataclass(frozen=True, slots=True)
class Section:
    """``papers`` are the numbers of its seed papers, ``needs`` the results without which it has
    nothing to say, ``command`` what makes them; ``write`` gives text, tables and pictures.
    """

    title: str
    papers: tuple[int, ...]
    needs: tuple[str, ...]
    command: str
    write: Callable[[Findings], Sequence[Block]]

    @property
    def anchor(self) -> str:
        """As the page's own links name it."""
        kept = "".join(each for each in self.title.lower() if each.isalnum() or each in " -_")
        return kept.replace(" ", "-")
