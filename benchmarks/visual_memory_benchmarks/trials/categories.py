"""The 16 categories that people and machines choose from."""

from __future__ import annotations

NO_ANSWER = "na"
CATEGORIES = (
    *("airplane", "bear", "bicycle", "bird", "boat", "bottle", "car", "cat"),
    *("chair", "clock", "dog", "elephant", "keyboard", "knife", "oven", "truck"),
)
