"""The edits that are compared, and the control of each, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

Control: TypeAlias = Literal["random-addition", "mislabelled-addition", "random-removal"]

ADDITION: Control = "random-addition"
MISLABELLED: Control = "mislabelled-addition"
REMOVAL: Control = "random-removal"


@dataclass(frozen=True, slots=True)
class Kind:
    """A way to edit a memory, such as adding silhouettes; ``what`` describes it.

    It is applied at each of ``doses``, measured in ``unit``. Each dose is compared with an edit of
    the same size, of the kind ``control``.
    """

    what: str
    unit: str
    doses: tuple[float, ...]
    control: Control

    def control_of(self, dose: float, size: int) -> Edit:
        """Return the control edit of a dose that changed ``size`` entries."""
        return Edit(self.control, float(size) if self.control == REMOVAL else dose)


@dataclass(frozen=True, slots=True, order=True)
class Edit:
    """One edit of a memory: a kind of edit, by its name, and its dose."""

    kind: str
    dose: float

    @property
    def name(self) -> str:
        """Return a readable name: ``silhouettes 5``."""
        return f"{self.kind} {self.dose:g}"


NOTHING = Edit("nothing", 0)

_PER_CATEGORY, _FRACTION = "pictures per category", "fraction of the entries"
_PICTURES, _FRACTIONS = (1.0, 2.0, 5.0), (0.1, 0.2, 0.4)

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "silhouettes": Kind("add filled silhouettes", _PER_CATEGORY, _PICTURES, ADDITION),
        "edges": Kind("add edge drawings", _PER_CATEGORY, _PICTURES, ADDITION),
        "cue-conflict": Kind(
            "add cue-conflict pictures, labelled by shape; control: the same pictures under labels "
            "that are neither their shape nor their texture",
            _PER_CATEGORY,
            _PICTURES,
            MISLABELLED,
        ),
        "low-pass": Kind(
            "add blurred copies (sigma 5) of the pictures that the control adds",
            _PER_CATEGORY,
            _PICTURES,
            ADDITION,
        ),
        "phase-scrambling": Kind(
            "add copies with scrambled phases (90°) of the pictures that the control adds",
            _PER_CATEGORY,
            _PICTURES,
            ADDITION,
        ),
        "hard-pruning": Kind(
            "prune what misleads often", "least v at k = 100", (150.0, 128.0, 100.0), REMOVAL
        ),
        "soft-pruning": Kind(
            "votes times reliability; size: votes lost, by their effective number",
            "reliability_k",
            (5.0, 10.0, 50.0),
            REMOVAL,
        ),
        "value-pruning": Kind("prune the least valuable (k = 5)", _FRACTION, _FRACTIONS, REMOVAL),
        "prototype-keep-hard": Kind(
            "prune what is nearest to a prototype", _FRACTION, _FRACTIONS, REMOVAL
        ),
        "prototype-keep-easy": Kind(
            "prune what is farthest from any prototype", _FRACTION, _FRACTIONS, REMOVAL
        ),
        "texture-like": Kind(
            "remove what is most often among the 10 nearest of cue-conflict pictures with its "
            "label as their texture",
            _FRACTION,
            _FRACTIONS,
            REMOVAL,
        ),
        "misleading": Kind(
            "remove what misleads most (v at k = 10)", _FRACTION, _FRACTIONS, REMOVAL
        ),
        "halving": Kind("remove half of a category", "categories", (1.0, 4.0, 8.0), REMOVAL),
    }
)
