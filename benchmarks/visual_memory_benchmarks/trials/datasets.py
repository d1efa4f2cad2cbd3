"""The 17 datasets that people and machines answered (Geirhos et al., 2021)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["nonparametric", "binary", "parametric"]

NO_ANSWER = "na"
CATEGORIES = (
    *("airplane", "bear", "bicycle", "bird", "boat", "bottle", "car", "cat"),
    *("chair", "clock", "dog", "elephant", "keyboard", "knife", "oven", "truck"),
)
"""The 16 categories that people and machines choose from."""
ALL = "all"  # the condition of a set without conditions, by any value in its tables


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset: its conditions by canonical token, and the conditions excluded from scores.

    ``excluded`` conditions are controls, or people are right in less than 0.2 of their trials.
    """

    name: str
    kind: Kind
    conditions: tuple[str, ...] = (ALL,)
    excluded: tuple[str, ...] = ()
    categories: tuple[str, ...] = CATEGORIES

    @property
    def kept(self) -> tuple[str, ...]:
        """Return the conditions that scores are averaged over."""
        return tuple(each for each in self.conditions if each not in self.excluded)

    def canonical(self, token: str) -> str | None:
        """Return the condition that a table's token means, or None.

        Tables write one condition in several ways: 1 and 1.0, 0.10 and 0.1, true and True.
        """
        if self.kind == "nonparametric":
            return ALL
        if token in self.conditions:
            return token
        value = _value(token)
        return next((each for each in self.conditions if _value(each) == value), None)


def _value(token: str) -> float | str:
    try:
        return float(token)
    except ValueError:
        return token.casefold()


def _eidolon(name: str, coherence: int, kept: tuple[int, ...]) -> Dataset:
    """Make an eidolon dataset: reach 2^0 to 2^7 at one coherence; the grain is 10.

    Scores are averaged over the reaches in ``kept``.
    """
    conditions = {reach: f"{reach}-{coherence}-10" for reach in (1, 2, 4, 8, 16, 32, 64, 128)}
    excluded = tuple(token for reach, token in conditions.items() if reach not in kept)
    return Dataset(name, "parametric", tuple(conditions.values()), excluded)


def _table(datasets: Iterable[Dataset]) -> MappingProxyType[str, Dataset]:
    return MappingProxyType({dataset.name: dataset for dataset in datasets})


DATASETS = _table(
    (
        Dataset("edge", "nonparametric"),
        Dataset("silhouette", "nonparametric"),
        Dataset("cue-conflict", "nonparametric"),
        Dataset("colour", "binary", ("cr", "bw"), ("cr",)),
        Dataset(
            "contrast",
            "parametric",
            ("c100", "c50", "c30", "c15", "c10", "c05", "c03", "c01"),
            ("c100", "c03", "c01"),
        ),
        Dataset(
            "high-pass",
            "parametric",
            ("inf", "3.0", "1.5", "1.0", "0.7", "0.55", "0.45", "0.4"),
            ("inf", "0.55", "0.45", "0.4"),
        ),
        Dataset(
            "low-pass",
            "parametric",
            ("0", "1", "3", "5", "7", "10", "15", "40"),
            ("0", "15", "40"),
        ),
        Dataset(
            "phase-scrambling",
            "parametric",
            ("0", "30", "60", "90", "120", "150", "180"),
            ("0", "150", "180"),
        ),
        Dataset("power-equalisation", "binary", ("0", "pow"), ("0",)),
        Dataset("false-colour", "binary", ("True", "False"), ("True",)),
        Dataset("rotation", "parametric", ("0", "90", "180", "270"), ("0",)),
        _eidolon("eidolonI", 10, (2, 4, 8, 16, 32)),
        _eidolon("eidolonII", 3, (2, 4, 8, 16)),
        _eidolon("eidolonIII", 0, (2, 4, 8)),
        Dataset(
            "uniform-noise",
            "parametric",
            ("0.0", "0.03", "0.05", "0.1", "0.2", "0.35", "0.6", "0.9"),
            ("0.0", "0.6", "0.9"),
        ),
        Dataset("sketch", "nonparametric"),
        Dataset("stylized", "nonparametric"),
    )
)
