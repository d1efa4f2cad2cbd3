"""Shape bias and accuracy of children (Huber, Geirhos and Wichmann, 2022).

Different children saw different pictures, so trials are pooled and no error consistency is given.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

REACHES = ("0", "4", "8", "16")
SHARES = ("0.0", "0.1", "0.2", "0.35")


@dataclass(frozen=True, slots=True)
class ShapeBias:
    """Answers by shape and by texture to pictures whose two cues conflict.

    ``subjects`` is the number of persons; it and ``mean_over_subjects`` are None for models.
    """

    subjects: int | None
    trials: int
    shape: int
    texture: int
    mean_over_subjects: float | None

    @property
    def pooled(self) -> float | None:
        """Return the pooled shape bias; None where neither shape nor texture was answered."""
        total = self.shape + self.texture
        return self.shape / total if total else None


@dataclass(frozen=True, slots=True)
class Level:
    """The accuracy and the number of trials at one strength of a distortion."""

    accuracy: float
    trials: int


SHAPE_BIAS = MappingProxyType(
    {
        "4_6": ShapeBias(21, 775, 415, 59, 0.8555405092),
        "7_9": ShapeBias(11, 1212, 795, 80, 0.9002891753),
        "10_12": ShapeBias(12, 1248, 924, 64, 0.9339799067),
        "13_15": ShapeBias(8, 1356, 1040, 76, 0.9217593273),
        "adults": ShapeBias(3, 576, 472, 16, 0.9672933785),
        "model_bitm": ShapeBias(None, 240, 95, 75, None),
        "model_resnext": ShapeBias(None, 240, 83, 62, None),
        "model_swag": ShapeBias(None, 240, 37, 108, None),
        "model_swsl": ShapeBias(None, 240, 90, 110, None),
        "model_vgg19": ShapeBias(None, 240, 16, 185, None),
    }
)
"""By group; ages in years."""


def _levels(
    names: tuple[str, ...], trials: int | tuple[int, ...], *accuracies: float
) -> dict[str, Level]:
    counts = (trials,) * len(names) if isinstance(trials, int) else trials
    return dict(zip(names, map(Level, accuracies, counts), strict=True))


LEVELS = MappingProxyType(
    {
        ("eidolon", "4_6"): _levels(
            REACHES, (302, 304, 304, 304), 0.77152, 0.63816, 0.55263, 0.29276
        ),
        ("eidolon", "7_9"): _levels(REACHES, 445, 0.91461, 0.86292, 0.69888, 0.42921),
        ("eidolon", "10_12"): _levels(REACHES, 455, 0.93846, 0.87253, 0.70989, 0.45055),
        ("eidolon", "13_15"): _levels(REACHES, 425, 0.96235, 0.88, 0.79294, 0.52941),
        ("eidolon", "adults"): _levels(REACHES, 240, 0.9875, 0.92083, 0.88333, 0.54583),
        ("eidolon", "model_bitm"): _levels(REACHES, 80, 1.0, 0.8875, 0.5, 0.175),
        ("eidolon", "model_resnext"): _levels(REACHES, 80, 0.9875, 0.9, 0.5, 0.2625),
        ("eidolon", "model_swag"): _levels(REACHES, 80, 1.0, 0.95, 0.6875, 0.225),
        ("eidolon", "model_swsl"): _levels(REACHES, 80, 1.0, 0.9125, 0.6125, 0.175),
        ("eidolon", "model_vgg19"): _levels(REACHES, 80, 0.9625, 0.7, 0.3, 0.1),
        ("noise", "4_6"): _levels(SHARES, 310, 0.70645, 0.56129, 0.58065, 0.30645),
        ("noise", "7_9"): _levels(SHARES, 460, 0.90652, 0.70652, 0.66087, 0.45435),
        ("noise", "10_12"): _levels(SHARES, 470, 0.92979, 0.7234, 0.66383, 0.45745),
        ("noise", "13_15"): _levels(SHARES, 320, 0.94375, 0.78438, 0.73438, 0.50938),
        ("noise", "adults"): _levels(SHARES, 240, 0.95833, 0.8375, 0.71667, 0.52917),
        ("noise", "model_bitm"): _levels(SHARES, 80, 0.9875, 0.9, 0.7875, 0.5875),
        ("noise", "model_resnext"): _levels(SHARES, 80, 0.9875, 0.7, 0.2875, 0.075),
        ("noise", "model_swag"): _levels(SHARES, 80, 1.0, 0.975, 0.9625, 0.7625),
        ("noise", "model_swsl"): _levels(SHARES, 80, 1.0, 0.9, 0.7125, 0.475),
        ("noise", "model_vgg19"): _levels(SHARES, 80, 0.975, 0.15, 0.0625, 0.075),
    }
)
"""By distortion (eidolon: reach; noise: share of salt and pepper) and group; five decimals."""
