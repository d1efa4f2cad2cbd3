"""Published rows, shown beside ours and never computed again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """A model of the leaderboard of model-vs-human with its mean rank among 52 models."""

    model: str
    accuracy_difference: float
    observed_consistency: float
    error_consistency: float
    mean_rank: float


LEADERBOARD = (
    Row("ViT-22B-384 (4B images)", 0.018, 0.783, 0.258, 1.67),
    Row("CLIP ViT-B (400M)", 0.023, 0.758, 0.281, 3),
    Row("ViT-22B-560 (4B)", 0.022, 0.739, 0.281, 3.33),
    Row("SWSL ResNeXt-101 (940M)", 0.028, 0.752, 0.237, 6),
    Row("BiT-M ResNet-101x1 (14M)", 0.034, 0.733, 0.252, 7),
    Row("BiT-M ResNet-152x2 (14M)", 0.035, 0.737, 0.243, 7.67),
    Row("ViT-L (1M)", 0.033, 0.738, 0.222, 9.33),
    Row("BiT-M ResNet-152x4 (14M)", 0.035, 0.732, 0.233, 10.33),
    Row("BiT-M ResNet-50x3 (14M)", 0.040, 0.726, 0.228, 12),
    Row("ViT-L (14M)", 0.035, 0.744, 0.206, 12),
    Row("ResNet-50 (1M)", 0.087, 0.665, 0.208, 31.33),
)

OOD_ACCURACY = {
    "ViT-22B-224": 0.837,
    "Noisy Student EfficientNet-L2 (300M)": 0.829,
    "ViT-22B-384": 0.798,
    "ViT-L (14M)": 0.733,
    "CLIP": 0.708,
    "ViT-L (1M)": 0.706,
    "SWSL": 0.698,
    "BiT-M 152x2": 0.694,
    "BiT-M 152x4": 0.688,
    "BiT-M 101x3": 0.682,
    "ResNet-50": 0.559,
}

SHAPE_BIAS = {"Imagen, generative classifier (seed 5)": 0.99, "ViT-22B-384 (seed 1)": 0.87}

LAION_C_PERCENT = {
    "EVA-G/14 560": 67.5,
    "EVA02-L/14 448": 66.8,
    "CLIP ViT-L/14": 57.8,
    "ViT-H/14": 57.3,
    "best human observer": 55.2,
    "ConvNeXt-XXL": 54.8,
    "GPT-4o": 54.1,
    "Gemini 1.5 Pro": 50.2,
    "BEiT-v2-L": 47.7,
    "ViT-B/16 AugReg": 47.1,
}

DIFFICULTY_PERCENT = {"trivial": 46.0, "impossible": 11.5, "rest": 42.5}
"""Of ImageNet's pictures, over networks of many kinds (seed 23)."""

MEAN_CORRELATION = 0.198
"""Of 69 metrics of alignment, each with each, over 80 models (seed 10)."""
