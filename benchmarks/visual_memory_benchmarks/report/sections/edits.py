"""Section: effects of edits on perception."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from visual_memory_benchmarks.edits.analysis import ALPHA
from visual_memory_benchmarks.edits.edit import MISLABELLED
from visual_memory_benchmarks.report.findings import Findings
from visual_memory_benchmarks.report.markdown import (
    bullets,
    change,
    folded,
    interval,
    listed,
    paragraph,
    table,
)
from visual_memory_benchmarks.report.picture import Picture
from visual_memory_benchmarks.report.plots import Canvas, error_bars
from visual_memory_benchmarks.report.section import Blocks

NAME = "edits"
SHAPE_BIAS, NATURAL, LIKENESS, STEADINESS = (
    "shape_bias",
    "natural_accuracy",
    "likeness",
    "steadiness",
)

Contrast: TypeAlias = Mapping[str, Any]


def write(findings: Findings) -> Blocks:
    result = findings.results[NAME]
    k, *others = result["study"]["ks"]
    statistics = result["statistics"]
    alpha, family = statistics["alpha"], statistics["families"][str(k)]
    tests = [f"{count:.0f} {name} pictures" for name, count in statistics["tests"].items()]
    return [
        paragraph(
            f"From one natural memory, {len({edit['kind'] for edit in result['edits']})} kinds of "
            "edits in several doses, each against a control of equal size, "
            f"{statistics['seeds']} seeds; no picture, shape item or texture item on both sides. "
            f"{_controls(result)}"
            "Each cell is edit minus control, with the interval over seeds and items "
            f"({statistics['resamples']:,} draws), so an edit that changes nothing stands above a "
            f"control that does harm; bold where p < {alpha:g} after Holm's "
            f"correction for the {family} comparisons of one k. On average "
            f"{listed(tests)} are asked about. k = {k}."
        ),
        bullets(sentences(result)),
        Picture(
            "edits",
            "Differences from the control for every edit and dose, by outcome. " + _alt(result, k),
            (10, 0.19 * len(result["edits"]) + 1.6),
            lambda canvas: draw(canvas, result),
        ),
        effects(result, k),
        *(folded(f"The same with k = {k}", f"{effects(result, k)}\n") for k in others),
        folded("What each edit does", _kinds(result)),
    ]


def effects(result: Mapping[str, Any], k: int) -> str:
    """Make a table with a row for each edit and dose, a column for each tested outcome.

    Cells are differences from the control with intervals, bold if the adjusted p-value is below
    ``ALPHA``.
    """
    tested = [name for name, outcome in result["outcomes"].items() if outcome["tested"]]
    before = {row["outcome"]: interval(row) for row in result["before"] if row["k"] == k}
    cells = {
        (row["kind"], row["dose"], row["outcome"]): _cell(row)
        for row in result["contrasts"]
        if row["k"] == k
    }
    rows = [["before any edit", "", "", *(before[name] for name in tested)]]
    for edit in result["edits"]:
        kind, dose = edit["kind"], edit["dose"]
        found = [cells[kind, dose, name] for name in tested]
        rows.append([kind, f"{dose:g}", _sizes(edit["sizes"]), *found])
    return table(("edit", "dose", "entries", *tested), rows)


def _cell(row: Contrast) -> str:
    text = change(row["difference"])
    return f"**{text}**" if row["p_holm"] is not None and row["p_holm"] < ALPHA else text


def _sizes(sizes: Sequence[int]) -> str:
    low, high = min(sizes), max(sizes)
    return str(low) if low == high else f"{low}–{high}"


def _controls(result: Mapping[str, Any]) -> str:
    """Explain the controls."""
    text = "A control adds photographs, or removes entries, at random"
    if any(edit["control"] == MISLABELLED for edit in result["edits"]):
        text += (
            "; that of cue-conflict pictures adds the same ones under labels that are neither "
            "their shape nor their texture, for whatever lies near the pictures asked about takes "
            "votes from all others, by whichever label"
        )
    return f"{text}. "


def sentences(result: Mapping[str, Any]) -> list[str]:
    """State the findings, positive and negative, by the numbers alone."""
    k = result["study"]["ks"][0]
    family = result["statistics"]["families"][str(k)]
    found = significant(result, k)

    def moved(outcome: str) -> str:
        return _moved(result, [row for row in found if row["outcome"] == outcome])

    learnt = (
        f"**Learnt:** {len(found)} of {family} comparisons differ from their control beyond "
        f"chance. Shape bias {moved(SHAPE_BIAS)}; error consistency with the memory before the "
        f"edit {moved(STEADINESS)}."
    )
    return [
        " ".join([learnt, *_shares(result, found)]),
        f"**At what price:** accuracy on photographs {moved(NATURAL)}; error consistency with "
        f"people {moved(LIKENESS)}.",
        f"**Not learnt:** {_nothing(result, found)}; that an interval holds 0 does not say that "
        "the edit does nothing, and all of it is of one embedder, one small memory, and the "
        "pictures named here.",
    ]


def significant(result: Mapping[str, Any], k: int) -> list[Contrast]:
    """Return the contrasts that are significant after Holm's correction."""
    alpha = result["statistics"]["alpha"]
    return [
        row
        for row in result["contrasts"]
        if row["k"] == k and row["p_holm"] is not None and row["p_holm"] < alpha
    ]


def _before(result: Mapping[str, Any], outcome: str) -> float:
    """Return an outcome's value before any edit, for the first of the study's k."""
    k = result["study"]["ks"][0]
    (level,) = (
        row["value"] for row in result["before"] if row["k"] == k and row["outcome"] == outcome
    )
    return float(level)


def _shares(result: Mapping[str, Any], found: Sequence[Contrast]) -> list[str]:
    """Return a sentence on shape and texture answers for each kind of edit that raised shape bias.

    ``found`` are the significant contrasts.
    """
    largest = _largest([row for row in found if row["outcome"] == SHAPE_BIAS], 1)
    return [
        f"With {row['kind']} at {row['dose']:g} answers by shape "
        f"{_from_to(result, row, 'shape_share')}, answers by texture "
        f"{_from_to(result, row, 'texture_share')}."
        for row in largest
    ]


def _from_to(result: Mapping[str, Any], row: Contrast, outcome: str) -> str:
    """Describe the change of ``outcome`` by the edit of ``row``, a contrast of another outcome."""
    (same,) = (
        each
        for each in result["contrasts"]
        if all(each[key] == row[key] for key in ("k", "kind", "dose"))
        and each["outcome"] == outcome
    )
    return f"go {_path(same, _before(result, outcome))}"


def _path(row: Contrast, before: float) -> str:
    return f"from {before:.3f} to {row['edited']:.3f}, under the control to {row['control']:.3f}"


def _largest(rows: Sequence[Contrast], sign: int) -> list[Contrast]:
    """Return the row of the largest difference of this sign for each kind, largest first."""
    largest: dict[str, Contrast] = {}
    for row in rows:
        size = sign * _size(row)
        before = largest.get(row["kind"])
        if size > 0 and (before is None or size > sign * _size(before)):
            largest[row["kind"]] = row
    return sorted(largest.values(), key=lambda row: -abs(_size(row)))


def _moved(result: Mapping[str, Any], rows: Sequence[Contrast]) -> str:
    """Describe the largest rise and fall among ``rows``, of one outcome, for each kind of edit."""
    if not rows:
        return "differs from the control's under none of the edits"
    before = _before(result, rows[0]["outcome"])
    parts = []
    for relation, sign in (("above", 1), ("below", -1)):
        if largest := _largest(rows, sign):
            paths = [f"{_by(row)[:-1]}: {_path(row, before)})" for row in largest]
            parts.append(f"is {relation} the control's with {listed(paths)}")
    return ", and ".join(parts)


def _by(row: Contrast) -> str:
    value = f"{_size(row):+.3f}".replace("-", "−")
    return f"{row['kind']} ({value} at {row['dose']:g})"


def _size(row: Contrast) -> float:
    value: float = row["difference"]["value"]
    return value


def _nothing(result: Mapping[str, Any], found: Sequence[Contrast]) -> str:
    kinds = dict.fromkeys(edit["kind"] for edit in result["edits"])
    still = [kind for kind in kinds if kind not in {row["kind"] for row in found}]
    if not still:
        return "every kind of edit moves something at some dose, but no dose was ruled out"
    return f"whether {listed(still)} do{'es' * (len(still) == 1)} anything beyond the control"


def draw(canvas: Canvas, result: Mapping[str, Any]) -> None:
    k = result["study"]["ks"][0]
    edits = [(edit["kind"], edit["dose"]) for edit in result["edits"]]
    outcomes = {name: each for name, each in result["outcomes"].items() if each["tested"]}
    alpha = result["statistics"]["alpha"]
    standing = {(row["kind"], row["dose"], row["outcome"]) for row in significant(result, k)}
    plain, stands = canvas.theme.series(2)
    all_axes = canvas.figure.subplots(1, len(outcomes), sharey=True)
    for axes, (name, outcome) in zip(all_axes, outcomes.items(), strict=True):
        canvas.unchanged(axes, horizontal=True)
        rows = [row for row in result["contrasts"] if row["k"] == k and row["outcome"] == name]
        for look, label, chosen in (
            (plain, f"p ≥ {alpha:g}", False),
            (stands, f"p < {alpha:g}", True),
        ):
            found = [
                row for row in rows if ((row["kind"], row["dose"], name) in standing) is chosen
            ]
            places = [-edits.index((row["kind"], row["dose"])) for row in found]
            differences = [row["difference"] for row in found]
            error_bars(axes, places, differences, look.dotted, label=label, horizontal=True)
        axes.set_title(textwrap.fill(outcome["what"], 28), fontsize=8.5)
        axes.margins(y=0.02)
        axes.locator_params(axis="x", nbins=4)
        axes.set_xlabel("edit − control, 95 %")
        axes.set_yticks(
            [-at for at in range(len(edits))], [f"{kind} {dose:g}" for kind, dose in edits]
        )
    title = f"{result['statistics']['seeds']} seeds, k = {k}; p after Holm's correction"
    canvas.legend_below(all_axes[0], 2, title)


def _alt(result: Mapping[str, Any], k: int) -> str:
    found = significant(result, k)
    return (
        "Beyond chance: "
        + (
            "; ".join(f"{row['outcome'].replace('_', ' ')} by {_by(row)}" for row in found)
            or "none"
        )
        + "."
    )


def _kinds(result: Mapping[str, Any]) -> str:
    rows = {
        edit["kind"]: (edit["kind"], edit["what"], edit["unit"], edit["control"])
        for edit in result["edits"]
    }
    return table(("edit", "what", "dose in", "control"), list(rows.values()))
