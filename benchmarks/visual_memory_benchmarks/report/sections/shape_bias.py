"""Section: shape bias, by category."""

from __future__ import annotations

from collections.abc import Mapping

from visual_memory_benchmarks.metrics import developmental
from visual_memory_benchmarks.report.findings import Findings, Json
from visual_memory_benchmarks.report.markdown import interval, number, paragraph, table
from visual_memory_benchmarks.report.picture import Picture
from visual_memory_benchmarks.report.plots import Canvas
from visual_memory_benchmarks.report.published import SHAPE_BIAS as PUBLISHED
from visual_memory_benchmarks.report.section import Blocks
from visual_memory_benchmarks.trials.trials import PEOPLE

NETWORKS = ("resnet50", "resnet50-train-60-epochs", "vgg16", "caffe-alexnet")
"""What the plot has of the published networks; "train-60-epochs" are of Stylized-ImageNet."""
AGES = {"4_6": "4–6 years", "7_9": "7–9 years", "10_12": "10–12 years", "13_15": "13–15 years"}


def write(findings: Findings) -> Blocks:
    bias = findings.summary["shape_bias"]
    described = all_of(findings)
    return [
        paragraph(
            f"Of {bias['images']:,} cue-conflict pictures {bias['conflict_images']:,} show the "
            "shape of one category in the texture of another. Shape bias is the share of shape "
            "among answers that name either. These are the published pictures: people, networks "
            "and memories may stand side by side. They combine some shapes with some textures, and "
            "intervals are over the pictures: for other shapes and textures they would be wider, "
            "as those of the edits below are, which are over the items. Networks whose names "
            "hold “train-60-epochs” were trained on Stylized-ImageNet, the others on ImageNet or "
            "Open Images."
        ),
        Picture(
            "shape-bias",
            "Shape bias for each of 16 categories, lines with 95 % bands at the bias over all. "
            + " ".join(
                f"{who}: {each['bias']['value']:.2f}." for who, each in plotted(described).items()
            ),
            (9, 6),
            lambda canvas: draw(canvas, findings),
        ),
        table(
            ("who", "shape", "texture", "neither", "shape bias", "from"),
            [
                (
                    who,
                    f"{each['shape']:,}",
                    f"{each['texture']:,}",
                    f"{each['trials'] - each['shape'] - each['texture']:,}",
                    interval(each["bias"]),
                    "trials",
                )
                for who, each in described.items()
            ]
            + [(name, "", "", "", f"{value:g}", "published") for name, value in PUBLISHED.items()],
        ),
        paragraph(
            "Children and adults of Huber et al. (seed 7) saw other cue-conflict pictures, so "
            "their rows are for reference:"
        ),
        table(
            ("age", "subjects", "shape", "texture", "shape bias, pooled", "from"),
            [
                (
                    AGES.get(group, group),
                    each.subjects,
                    f"{each.shape:,}",
                    f"{each.texture:,}",
                    number(each.pooled),
                    "published trials",
                )
                for group, each in developmental.SHAPE_BIAS.items()
                if each.subjects
            ],
        ),
    ]


def all_of(findings: Findings) -> dict[str, Json]:
    """Return the shape bias of people, then memories, then networks, by name."""
    bias: Json = findings.summary["shape_bias"]
    memories = {name: bias["models"][name] for name in findings.memories if name in bias["models"]}
    return {PEOPLE: bias["humans"], **memories, **bias["models"]}


def plotted(described: Mapping[str, Json]) -> dict[str, Json]:
    """Select from ``all_of`` the bias of people, one memory and NETWORKS, those to plot."""
    memory = next((name for name in described if name.endswith("k10")), None)
    names = [PEOPLE, *([memory] if memory else []), *NETWORKS]
    return {name: described[name] for name in names if name in described}


def draw(canvas: Canvas, findings: Findings) -> None:
    found = plotted(all_of(findings))
    axes = canvas.figure.subplots()
    categories = list(found[PEOPLE]["by_category"])
    for (who, each), look in canvas.series(found.items()):
        values = [each["by_category"][name]["bias"]["value"] for name in categories]
        axes.plot(values, range(0, -len(categories), -1), label=who, **look.dotted, alpha=0.9)
        axes.axvspan(each["bias"]["low"], each["bias"]["high"], color=look.colour, alpha=0.15)
        axes.axvline(each["bias"]["value"], color=look.colour, linestyle=look.line, linewidth=1.2)
    axes.set_yticks(range(0, -len(categories), -1), categories)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel(
        "shape bias: shape / (shape + texture); "
        f"{findings.summary['shape_bias']['conflict_images'] // len(categories)} pictures a "
        "category"
    )
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=3)
