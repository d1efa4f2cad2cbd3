"""Section: error over the size of a memory, and two laws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visual_memory_benchmarks.experiments.scaling import LAWS
from visual_memory_benchmarks.report.findings import Findings
from visual_memory_benchmarks.report.markdown import columns, interval, paragraph, table
from visual_memory_benchmarks.report.picture import Picture
from visual_memory_benchmarks.report.plots import Canvas, error_bars, logarithmic
from visual_memory_benchmarks.report.section import Blocks

NAME = "scaling"


def write(findings: Findings) -> Blocks:
    tables = findings.tables(NAME)
    sizes = tables["sizes"]
    ends = [
        f"k = {k}: {found[0]['error_percent']['value']:.1f} % with {found[0]['size']} entries, "
        f"{found[-1]['error_percent']['value']:.1f} % with {found[-1]['size']}."
        for k in _ks(findings)
        if (found := [row for row in sizes if row["k"] == k])
    ]
    return [
        paragraph(
            "A memory grows at random; what it never holds is asked about. Upstream fits error = "
            "10^b · (log₁₀ N)^a, a line over the logarithm of the logarithm; beside it stands the "
            "plain power law 10^b · N^a. The residual is in powers of ten, the smaller the better."
        ),
        Picture(
            "scaling",
            "Error over the number of entries, with two laws fitted. " + " ".join(ends),
            (9, 3.9),
            lambda canvas: draw(canvas, findings),
        ),
        columns(
            tables["fits"],
            {
                "k": "k",
                "law": lambda row: f"`{row['law']}`",
                "a": "a",
                "b": "b",
                "residual, log₁₀": "residual_log10",
            },
        ),
        table(
            ("entries", *(f"error in %, k = {k}" for k in _ks(findings))),
            [
                (
                    size,
                    *(interval(row["error_percent"], 1) for row in sizes if row["size"] == size),
                )
                for size in sorted({row["size"] for row in sizes})
            ],
        ),
    ]


def draw(canvas: Canvas, findings: Findings) -> None:
    tables = findings.tables(NAME)
    ks = _ks(findings)
    all_axes = np.atleast_1d(canvas.figure.subplots(1, len(ks), sharey=True))
    dots, *lines = canvas.theme.series(1 + len(LAWS))
    for axes, k in zip(all_axes, ks, strict=True):
        found = [row for row in tables["sizes"] if row["k"] == k]
        sizes = np.array([row["size"] for row in found], np.float64)
        finely = np.geomspace(sizes[0], sizes[-1], 100)
        for law, look in zip(LAWS, lines, strict=True):
            [fit] = [row for row in tables["fits"] if row["k"] == k and row["law"] == law]
            axes.plot(
                finely, predicted(fit, finely), color=look.colour, linestyle=look.line, label=law
            )
        errors = [row["error_percent"] for row in found]
        error_bars(axes, sizes.tolist(), errors, dots.dotted, label="measured")
        logarithmic(axes, sizes.tolist())
        axes.set_yscale("log")
        axes.set_xlabel("entries N")
        axes.set_title(f"k = {k}")
    errors_seen = [row["error_percent"]["value"] for row in tables["sizes"]]
    ticks = [each for each in (2, 5, 10, 20, 50, 100) if min(errors_seen) / 2 < each]
    logarithmic(all_axes[0], ticks, axis="y")
    all_axes[0].set_ylabel("error in %, 95 %")
    all_axes[-1].set_title(f"{all_axes[-1].get_title(loc='left')}, {findings.sample(NAME)}")
    canvas.legend_below(all_axes[0], 3)


def predicted(fit: Mapping[str, Any], sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the error in % that a fitted law predicts for each size."""
    exponents: NDArray[np.float64] = fit["a"]["value"] * LAWS[fit["law"]](sizes) + fit["b"]["value"]
    return np.power(10.0, exponents)


def _ks(findings: Findings) -> list[int]:
    return sorted({row["k"] for row in findings.tables(NAME)["sizes"]})
