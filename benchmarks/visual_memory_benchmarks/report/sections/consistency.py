"""Section: error consistency of memories with people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from visual_memory_benchmarks.report.findings import RUNS, Findings, Json
from visual_memory_benchmarks.report.markdown import folded, interval, paragraph, table
from visual_memory_benchmarks.report.picture import Picture
from visual_memory_benchmarks.report.plots import error_bars
from visual_memory_benchmarks.report.section import Block, Section
from visual_memory_benchmarks.report.theme import Theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SETS = ("cue-conflict", "edge", "silhouette")
PEOPLE = "people × people"
KINDS = (PEOPLE, "memory × people", "network × people")


def write(findings: Findings) -> Sequence[Block]:
    humans = findings.summary["humans"]
    pictures = {name: _images(findings, name) for name in SETS}
    return [
        paragraph(
            "Error consistency κ is 1 where two decision makers are right and wrong about the same "
            "pictures, 0 where they are so no more often than their accuracies alone would have "
            f"it. Over all {humans['datasets']} sets people reach "
            f"{interval(humans['error_consistency'])} with each other. Memories answered the three "
            "sets whose pictures lie here, the very pictures that people saw "
            f"({', '.join(f'{name} {count:,}' for name, count in pictures.items())})."
        ),
        Picture(
            "consistency",
            "Error consistency with people on three sets of pictures. "
            + " ".join(_told(findings, name) for name in SETS),
            (9, 0.26 * len(rows(findings, "edge")) + 1.4),
            lambda figure, theme: draw(figure, theme, findings),
        ),
        table(
            ("who", *(f"κ, {name}" for name in SETS), *(f"accuracy, {name}" for name in SETS)),
            [
                (who, *(_cell(findings, name, who, key) for key in KEYS for name in SETS))
                for who, _ in rows(findings, "edge")
            ],
        ),
        folded(
            "People on all 17 sets",
            table(
                ("set", "trials that count", "accuracy", "observed consistency", "κ"),
                [
                    (
                        name,
                        f"{each['humans']['trials_used']:,}",
                        interval(each["humans"]["accuracy"]),
                        interval(each["humans"]["observed_consistency"]),
                        interval(each["humans"]["error_consistency"]),
                    )
                    for name, each in findings.summary["datasets"].items()
                    if each["humans"]
                ]
                + [
                    (
                        "mean",
                        "",
                        interval(humans["ood_accuracy"]),
                        interval(humans["observed_consistency"]),
                        interval(humans["error_consistency"]),
                    )
                ],
            ),
        ),
    ]


KEYS = ("error_consistency", "accuracy")


def rows(findings: Findings, dataset: str) -> list[tuple[str, str]]:
    """Return the decision makers, and the kind of each."""
    found = list(findings.summary["datasets"][dataset]["models"])
    memories = [name for name in findings.memories if name in found]
    networks = [name for name in found if name not in memories]
    return [
        (PEOPLE, PEOPLE),
        *((name, KINDS[1]) for name in memories),
        *((name, KINDS[2]) for name in networks),
    ]


def draw(figure: Figure, theme: Theme, findings: Findings) -> None:
    looks = dict(zip(KINDS, theme.series(len(KINDS)), strict=True))
    names = [who for who, _ in rows(findings, "edge")]
    places = {who: -at for at, who in enumerate(names)}
    all_axes = figure.subplots(1, len(SETS), sharey=True)
    for axes, dataset in zip(all_axes, SETS, strict=True):
        shown = [each for each in rows(findings, dataset) if each[0] in places]
        for kind, look in looks.items():
            found = [who for who, each in shown if each == kind]
            error_bars(
                axes,
                [places[who] for who in found],
                [_part(findings, dataset, who)["error_consistency"] for who in found],
                look.dotted,
                horizontal=True,
                label=kind,
            )
        axes.axvline(0, color=theme.faint, linewidth=1)
        axes.set_title(f"{dataset} (n = {_images(findings, dataset):,})")
        axes.set_xlabel("error consistency κ, 95 %")
        axes.set_yticks(list(places.values()), list(places))
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)


def _part(findings: Findings, dataset: str, who: str) -> Json:
    found: Json = findings.summary["datasets"][dataset]
    part: Json = found["humans"] if who == PEOPLE else found["models"][who]
    return part


def _cell(findings: Findings, dataset: str, who: str, key: str) -> str:
    return interval(_part(findings, dataset, who)[key])


def _images(findings: Findings, dataset: str) -> int:
    return int(findings.of_people(dataset)["images"])


def _told(findings: Findings, dataset: str) -> str:
    found = {
        who: _part(findings, dataset, who)["error_consistency"]["value"]
        for who, _ in rows(findings, dataset)
    }
    others = {who: value for who, value in found.items() if who != PEOPLE and value is not None}
    best = max(others, key=others.__getitem__)
    return (
        f"{dataset}: people {found[PEOPLE]:.2f}, highest of the others {best} {others[best]:.2f}."
    )


CONSISTENCY = Section(
    "Error consistency with people",
    (15, 27),
    (RUNS,),
    "visual-memory-bench run cue-conflict edge silhouette --memory NAME",
    write,
)
