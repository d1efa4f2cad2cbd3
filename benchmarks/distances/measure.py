"""Distances of distortions from released code on the same pictures; writes docs/distortions.md."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from reasons import NOT_COMPARED, REASONS, method
from released import FILES, Released, table

from visual_memory_benchmarks.distortions.distortion import Materials
from visual_memory_benchmarks.distortions.geirhos import mean_amplitudes
from visual_memory_benchmarks.distortions.picture import Picture, framed
from visual_memory_benchmarks.distortions.registry import DISTORTIONS, distort, generator
from visual_memory_benchmarks.report.markdown import bullets, listed, paragraph
from visual_memory_benchmarks.report.markdown import table as rows_of
from visual_memory_benchmarks.stimuli.stimuli import Stimulus, decode, load

SEED = 0
NATURAL = "natural16"


@dataclass(frozen=True, slots=True)
class Distance:
    """The difference between pictures by our code and by released code.

    ``changed`` is the share of pixels that differ; ``largest`` and ``mean`` are differences in
    levels of 255; ``ours`` and ``theirs`` are mean and standard deviation of all channels' values.
    """

    changed: float
    largest: int
    mean: float
    ours: tuple[float, float]
    theirs: tuple[float, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="with natural16")
    parser.add_argument("--released", type=Path, required=True, help="with checkouts")
    parser.add_argument("--page", type=Path, required=True, help="what is written")
    parser.add_argument("--of-each", type=int, default=1, help="pictures of a category; default: 1")
    parser.add_argument("names", nargs="*", metavar="NAME", help="some of the distortions")
    options = parser.parse_args()
    pictures = chosen(options.data / NATURAL, options.of_each)
    materials = Materials(amplitudes=mean_amplitudes(pictures.values()))
    assert materials.amplitudes is not None
    peers = table(options.released, materials.amplitudes)
    found: dict[str, dict[str, Distance]] = {}
    for name, peer in peers.items():
        if not options.names or name in options.names:
            found[name] = {
                level: distance(pictures, name, level, peer, materials)
                for level in DISTORTIONS[name].levels
            }
            for level, each in found[name].items():
                print(name, level, *cells(each), each.ours, each.theirs, flush=True)
    if not options.names:
        options.page.write_text(page(found, peers, len(pictures)), encoding="utf-8")


def chosen(folder: Path, of_each: int) -> dict[str, Picture]:
    """Map file to picture for the first ``of_each`` of each category, cropped to 224 × 224."""
    found = load(NATURAL, folder)
    taken: dict[str, list[Stimulus]] = {}
    for each in found.stimuli:
        taken.setdefault(each.category, []).append(each)
    return {
        each.file: framed(decode(found, each)) for some in taken.values() for each in some[:of_each]
    }


def distance(
    pictures: dict[str, Picture], name: str, level: str, peer: Released, materials: Materials
) -> Distance:
    """Compare one distortion at one level with ``peer``, its released counterpart."""
    pairs = [
        (
            distort(picture, name, level, seed=SEED, picture_id=id, materials=materials),
            peer.make(picture, level, generator(SEED, name, level, id)),
        )
        for id, picture in pictures.items()
    ]
    ours, theirs = (np.stack(each).astype(np.int64) for each in zip(*pairs, strict=True))
    gaps = np.abs(ours - theirs)
    return Distance(
        float(gaps.any(axis=3).mean()),
        int(gaps.max()),
        float(gaps.mean()),
        (float(ours.mean()), float(ours.std())),
        (float(theirs.mean()), float(theirs.std())),
    )


def cells(each: Distance) -> tuple[str, str, str]:
    """Format share, largest and mean difference as cells of a table; none but 0 is rounded to 0."""
    changed = f"{each.changed:.4f}" if each.changed >= 5e-5 or not each.changed else "<0.0001"
    mean = f"{each.mean:.3f}" if each.mean >= 5e-4 or not each.mean else "<0.001"
    return changed, str(each.largest), mean


def page(found: dict[str, dict[str, Distance]], peers: dict[str, Released], pictures: int) -> str:
    """Return the text of docs/distortions.md.

    ``found`` has the distances by distortion, then level, ``peers`` the released code by
    distortion; ``pictures`` is the number of pictures compared. Raises AssertionError if a
    difference has no reason in REASONS, or a distortion is neither compared nor in NOT_COMPARED.
    """
    commits = {repository: commit for repository, (_, commit) in FILES.items()}
    blocks = ["# Distortions against released code", *map(paragraph, method(pictures, commits))]
    blocks += ["## Distance by level", rows_of(HEADER, _rows(found, peers))]
    drawn = [name for name, peer in peers.items() if not peer.same_draws]
    blocks += [
        "## Where draws cannot be the same",
        paragraph(
            "Crystals of frost are grown here, where released code has photographs of frost and "
            "cuts parts out of them. So only what all values come to can be compared: their mean "
            "and their standard deviation over all pictures."
        ),
        rows_of(
            ("distortion", "level", "ours: mean, sd", "released: mean, sd"),
            [
                (name, level, *(f"{mean:.1f}, {sd:.1f}" for mean, sd in (each.ours, each.theirs)))
                for name in drawn
                for level, each in found[name].items()
            ],
        ),
        "## What differs, and why",
        bullets(map(_explained, REASONS)),
        "## Not compared",
        bullets(map(_explained, NOT_COMPARED)),
    ]
    differing = {
        name for name, levels in found.items() if any(each.changed for each in levels.values())
    }
    unexplained = differing - _names(REASONS) - set(drawn)
    assert not unexplained, f"differ without a reason: {unexplained}"
    left = set(DISTORTIONS) - set(found) - _names(NOT_COMPARED)
    assert not left, f"neither compared nor told why not: {left}"
    return "\n\n".join(blocks) + "\n"


HEADER = (
    "distortion",
    "level",
    "pixels that differ",
    "largest difference",
    "mean difference",
    "released by",
)


def _explained(names_and_reason: tuple[str, str]) -> str:
    names, reason = names_and_reason
    return f"**{listed(names.split())}:** {reason}."


def _names(reasons: Iterable[tuple[str, str]]) -> set[str]:
    return {name for names, _ in reasons for name in names.split()}


def _rows(
    found: dict[str, dict[str, Distance]], peers: dict[str, Released]
) -> list[Sequence[object]]:
    """Return the rows of the table of distances: one for each level of each distortion.

    A distortion of which no level differs has one row; those with other random numbers have none.
    """
    rows: list[Sequence[object]] = []
    for name, levels in found.items():
        if not peers[name].same_draws:
            continue
        if not any(each.changed for each in levels.values()):
            rows.append((name, "all", "0", 0, "0", peers[name].source))
            continue
        rows += [(name, level, *cells(each), peers[name].source) for level, each in levels.items()]
    return rows


if __name__ == "__main__":
    main()
