"""Section: memories with distorted copies."""

from __future__ import annotations

import numpy as np

from visual_memory_benchmarks.report.findings import Findings
from visual_memory_benchmarks.report.markdown import (
    change,
    columns,
    folded,
    number,
    paragraph,
)
from visual_memory_benchmarks.report.picture import Picture
from visual_memory_benchmarks.report.plots import Canvas
from visual_memory_benchmarks.report.section import Blocks

NAME = "augmentation"


def write(findings: Findings) -> Blocks:
    tables = findings.tables(NAME)
    return [
        paragraph(
            "A memory remembers copies under one distortion beside its clean pictures, and is "
            "asked about each distortion. The gain is over the memory without copies, on the same "
            "pictures; the row “other clean pictures” remembers as many more clean ones instead."
        ),
        Picture(
            "augmentation",
            "Change of accuracy for each remembered distortion by each asked one. "
            + " ".join(
                f"{row['remembered']}: {row['same']['value']:+.3f} on itself, "
                f"{row['others']['value']:+.3f} on others."
                for row in tables["transfer"]
                if row["same"] and row["others"]
            ),
            (8.5, 5.2),
            lambda canvas: draw(canvas, findings),
        ),
        columns(
            tables["transfer"],
            {
                "remembered": "remembered",
                "asked the same": lambda row: change(row["same"]),
                "asked others, mean": lambda row: change(row["others"]),
                "asked clean pictures": lambda row: change(row["undistorted"]),
            },
        ),
        folded(
            "Every pair",
            columns(
                tables["pairs"],
                {
                    "remembered": "remembered",
                    "asked": "asked",
                    "accuracy": "accuracy",
                    "gain": lambda row: change(row["gain"]),
                    "gain over other clean pictures": lambda row: change(row["gain_over_clean"]),
                },
            ),
        ),
    ]


def draw(canvas: Canvas, findings: Findings) -> None:
    gains = {
        (row["remembered"], row["asked"]): row["gain"]
        for row in findings.tables(NAME)["pairs"]
        if row["gain"]["value"] is not None
    }
    remembered = [
        name
        for name in dict.fromkeys(name for name, _ in gains)
        if any(gains[at]["value"] for at in gains if at[0] == name)
    ]
    queries = list(dict.fromkeys(name for _, name in gains))
    values = np.array([[gains[name, each]["value"] for each in queries] for name in remembered])
    reach = float(np.abs(values).max()) or 1.0
    axes = canvas.figure.subplots()
    image = axes.imshow(values, vmin=-reach, vmax=reach, cmap="PuOr", aspect="auto")
    axes.grid(visible=False)
    axes.set_xticks(range(len(queries)), queries, rotation=30, ha="right")
    axes.set_yticks(range(len(remembered)), remembered)
    axes.set_xlabel("asked under")
    axes.set_ylabel("remembered besides clean pictures")
    for at, row in np.ndenumerate(values):
        gain = gains[remembered[at[0]], queries[at[1]]]
        significant = gain["low"] > 0 or gain["high"] < 0
        axes.text(
            at[1],
            at[0],
            number(row, 2, "+"),
            ha="center",
            va="center",
            fontsize=8,
            fontweight="bold" if significant else "normal",
            color="#ffffff" if abs(row) > 0.6 * reach else "#1f2328",
        )
    axes.set_title(f"{findings.size('natural16')} in thirds; bold: the 95 % interval leaves 0 out")
    canvas.figure.colorbar(image, ax=axes, label="change of accuracy")
