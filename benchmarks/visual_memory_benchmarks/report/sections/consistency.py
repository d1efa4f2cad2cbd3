"""Section: error consistency of memories with people."""

from __future__ import annotations

from visual_memory_benchmarks.report.findings import Findings, Json
from visual_memory_benchmarks.report.markdown import columns, folded, interval, paragraph, table
from visual_memory_benchmarks.report.picture import Picture
from visual_memory_benchmarks.report.plots import Canvas, error_bars
from visual_memory_benchmarks.report.section import Blocks

SETS = ("cue-conflict", "edge", "silhouette")
PEOPLE = "people × people"
KINDS = (PEOPLE, "memory × people", "network × people")


def write(findings: Findings) -> Blocks:
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
            + " ".join(_in_words(findings, name) for name in SETS),
            (9, 0.26 * len(rows(findings, "edge")) + 1.4),
            lambda canvas: draw(canvas, findings),
        ),
        table(
            ("who", *(f"κ, {name}" for name in SETS), *(f"accuracy, {name}" for name in SETS)),
            [
                (
                    who,
                    *(interval(_part(findings, name, who)[key]) for key in KEYS for name in SETS),
                )
                for who, _ in rows(findings, "edge")
            ],
        ),
        folded(
            "People on all 17 sets",
            columns(
                [
                    {"set": name, "used": f"{each['humans']['trials_used']:,}", **each["humans"]}
                    for name, each in findings.summary["datasets"].items()
                    if each["humans"]
                ]
                + [{**humans, "set": "mean", "used": "", "accuracy": humans["ood_accuracy"]}],
                {
                    "set": "set",
                    "trials that count": "used",
                    "accuracy": "accuracy",
                    "observed consistency": "observed_consistency",
                    "κ": "error_consistency",
                },
            ),
        ),
    ]


KEYS = ("error_consistency", "accuracy")


def rows(findings: Findings, dataset: str) -> list[tuple[str, str]]:
    """Return name and kind of each decision maker: people, then memories, then networks."""
    found = list(findings.summary["datasets"][dataset]["models"])
    memories = [name for name in findings.memories if name in found]
    networks = [name for name in found if name not in memories]
    return [
        (PEOPLE, PEOPLE),
        *((name, KINDS[1]) for name in memories),
        *((name, KINDS[2]) for name in networks),
    ]


def draw(canvas: Canvas, findings: Findings) -> None:
    looks = dict(canvas.series(KINDS))
    names = [who for who, _ in rows(findings, "edge")]
    places = {who: -at for at, who in enumerate(names)}
    all_axes = canvas.figure.subplots(1, len(SETS), sharey=True)
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
        canvas.unchanged(axes, horizontal=True)
        axes.set_title(f"{dataset} (n = {_images(findings, dataset):,})")
        axes.set_xlabel("error consistency κ, 95 %")
        axes.set_yticks(list(places.values()), list(places))
    canvas.legend_below(all_axes[0], 3)


def _part(findings: Findings, dataset: str, who: str) -> Json:
    found: Json = findings.summary["datasets"][dataset]
    part: Json = found["humans"] if who == PEOPLE else found["models"][who]
    return part


def _images(findings: Findings, dataset: str) -> int:
    return int(findings.of_people(dataset)["images"])


def _in_words(findings: Findings, dataset: str) -> str:
    found = {
        who: _part(findings, dataset, who)["error_consistency"]["value"]
        for who, _ in rows(findings, dataset)
    }
    others = {who: value for who, value in found.items() if who != PEOPLE and value is not None}
    best = max(others, key=others.__getitem__)
    return (
        f"{dataset}: people {found[PEOPLE]:.2f}, highest of the others {best} {others[best]:.2f}."
    )
