"""Experiments: seeded studies of memories on a running service."""

from __future__ import annotations

import inspect
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from visual_memory import Client
from visual_memory_benchmarks.errors import MissingData
from visual_memory_benchmarks.laboratory.laboratory import Embedder, Laboratory
from visual_memory_benchmarks.laboratory.result import Result, Tables
from visual_memory_benchmarks.stimuli.stimuli import StimulusSet


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment: its title, its function, and the datasets that the function needs.

    ``papers`` are the papers that it answers, by their numbers in the list of seed papers.
    ``function`` takes a ``Laboratory``, and parameters by keyword. ``others`` are embedders to
    compare with the measured embedder.
    """

    title: str
    function: Callable[..., Tables]
    papers: tuple[int, ...]
    data: tuple[str, ...]
    intervals: str
    comparison: str
    others: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Return the experiment's name, which is that of ``function``."""
        return self.function.__name__

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Return the function's keyword parameters with their defaults."""
        given = inspect.signature(self.function).parameters.values()
        return {each.name: each.default for each in given if each.kind is each.KEYWORD_ONLY}

    def run(
        self,
        client: Client,
        sets: Mapping[str, StimulusSet],
        embedders: Sequence[Embedder],
        *,
        apart: str = "",
        **parameters: Any,
    ) -> Result:
        """Run the experiment; equal arguments give equal results. Its memories are deleted.

        A run that is killed, or whose server is unreachable, leaves them; their names contain
        ``apart``, a random text by default, and the next run with the same deletes them. Raises
        MissingData if a set that the experiment needs is not among ``sets``.
        """
        for name in self.data:
            if name not in sets:
                raise MissingData(name, f"the experiment {self.name} needs it and was not given it")
        memories = f"{self.name}-{apart or secrets.token_hex(6)}"
        with Laboratory(client, memories, sets, embedders) as laboratory:
            tables = self.function(laboratory, **parameters)
            return Result(
                experiment=self.name,
                title=self.title,
                papers=self.papers,
                parameters={**self.parameters, **parameters},
                data={name: sets[name].sha256 for name in self.data},
                embedders=[each.spec for each in embedders],
                states=laboratory.states,
                tables=tables,
                intervals=self.intervals,
                comparison=self.comparison,
            )
