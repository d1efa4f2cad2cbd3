"""A section of the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from visual_memory_benchmarks.report.findings import Findings
from visual_memory_benchmarks.report.picture import Picture

Blocks: TypeAlias = Sequence[str | Picture]


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the page, with the results it needs.

    ``papers`` are the papers answered (numbers), ``needs`` the names of the required results,
    ``command`` makes them; ``write`` returns texts, tables and pictures.
    """

    title: str
    papers: tuple[int, ...]
    needs: tuple[str, ...]
    command: str
    write: Callable[[Findings], Blocks]

    @property
    def anchor(self) -> str:
        """Return the anchor that the page's links use."""
        kept = "".join(each for each in self.title.lower() if each.isalnum() or each in " -_")
        return kept.replace(" ", "-")


def of_experiment(
    title: str,
    papers: tuple[int, ...],
    name: str,
    write: Callable[[Findings], Blocks],
) -> Section:
    """Return a section that needs the result of one experiment."""
    return Section(title, papers, (name,), f"visual-memory-bench experiment {name}", write)
