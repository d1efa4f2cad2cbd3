"""The results of the demo, which its page shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from visual_memory.terminal.output import printable
from visual_memory.types import Decision
from visual_memory_service.pictures.pictures import Picture

K = 50


@dataclass(frozen=True, slots=True)
class Answers:
    """Pictures with the decisions of the memory on them."""

    pictures: Sequence[Picture]
    decisions: Sequence[Decision]

    @property
    def right(self) -> int:
        """Count the correct decisions."""
        pairs = zip(self.pictures, self.decisions, strict=True)
        return sum(picture.label == decision.label for picture, decision in pairs)

    @property
    def score(self) -> str:
        """Format the score: ``7 of 8 right``."""
        return f"{self.right} of {len(self.pictures)} right"

    def mentions(self, label: str) -> bool:
        """Return True if any decision, vote or neighbour shown has this label."""
        return any(
            label in each.scores or label in each.neighbors.labels for each in self.decisions
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answers of the demo: ``known`` on the classes inserted first, the others on a new class.

    They were taken ``before`` its entries were inserted, with them (``learnt``), and after their
    deletion (``forgotten``).
    """

    known: Answers
    before: Answers
    learnt: Answers
    forgotten: Answers


@dataclass(frozen=True, slots=True)
class Log:
    """The lines that the demo has printed, each with the title of its step."""

    lines: list[tuple[str, str]] = field(default_factory=list)

    def say(self, title: str, text: str) -> None:
        """Print a line and record it."""
        self.lines.append((title, text))
        print(printable(f"{title:<10}{text}"), flush=True)
