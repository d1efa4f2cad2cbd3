"""Estimates in tables."""

from __future__ import annotations

from collections.abc import Mapping

Estimate = Mapping[str, float | None]

INTERVALS = "In brackets: confidence intervals of 95 %, from drawing the pictures again."


def interval(estimate: Estimate | None) -> str:
    """Format an estimate: ``0.2150 [0.1921, 0.2388]``, or a dash where it is undefined."""
    if estimate is None or estimate["value"] is None:
        return "–"
    if estimate["low"] is None or estimate["high"] is None:
        return f"{estimate['value']:.4f}"
    return f"{estimate['value']:.4f} [{estimate['low']:.4f}, {estimate['high']:.4f}]"
