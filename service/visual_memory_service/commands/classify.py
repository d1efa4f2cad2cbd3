"""``classify``: decide the labels of pictures, some at a time."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from visual_memory import Client, Memory
from visual_memory.terminal.arguments import Commands
from visual_memory.terminal.output import plural, print_json_array, print_table, say
from visual_memory.terminal.pictures import show
from visual_memory.terminal.progress import Progress
from visual_memory.terminal.refused import Refused, WrongUsage
from visual_memory.types import Decision, Limits, Neighbor
from visual_memory_service.console.arguments import (
    FILTER,
    LIKE_BEFORE,
    add_asking,
    add_path,
    add_rule,
    deciding_rule,
    refuse_without,
    rule,
)
from visual_memory_service.console.drift import sentence
from visual_memory_service.pictures import bad_pictures, pictures
from visual_memory_service.pictures.pictures import PictureFiles

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BATCH = 64

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Answered(Generic[Answer]):
    """Pictures with the server's answers; ``bad`` gives the reason for each picture left out."""

    answers: Sequence[tuple[Path, Answer]]
    bad: dict[str, str]
    seconds: float


CALIBRATE = (
    "--calibrated says how often such decisions are right, after a visual-memory calibrate {name}."
)
VOTE_SHARE = (
    f"A vote share of 1 means that all neighbours agree, not that they are right: {CALIBRATE}"
)
SCORE = f"A score is the winner's part of the scores of all labels, by votes and head: {CALIBRATE}"


def add_to(commands: Commands) -> None:
    parser = add_asking(
        commands, "classify", classify, "classify pictures by the vote of their nearest entries"
    )
    add_path(parser, "images", "IMAGE", "also a folder", nargs="+")
    bad_pictures.add_skip_bad(parser, "classified")
    add_vote(parser)
    parser.add_argument(
        "--calibrated",
        action="store_true",
        help="add how often such decisions are right, or reject a picture unlike all entries",
    )
    parser.add_argument(
        "--coverage",
        metavar="C",
        type=float,
        help="add a set of labels that holds the right one in this share of cases, such as 0.9",
    )
    parser.add_argument(
        "--coverage-by",
        choices=("all", "label"),
        help="label: hold the right one in that share of each label's cases; default: all",
    )
    parser.add_argument(
        "--min-confidence",
        metavar="C",
        type=float,
        help="add the deepest node of the taxonomy (set_taxonomy in Python) with this share of the "
        "votes",
    )
    parser.add_argument(
        "--neighbors",
        metavar="N",
        type=int,
        help="neighbours to show for each picture; default: 1, with --json all",
    )


def add_vote(parser: ArgumentParser) -> None:
    """Add the options of a vote, such as --k and --voting, to the parser of a command."""
    add_rule(parser, "neighbours that vote")
    parser.add_argument("--filter", metavar="F", help=f"the entries that may vote, {FILTER}")
    parser.add_argument(
        "--reliability",
        choices=("none", "soft"),
        default="none",
        help="soft: the votes of entries that mislead count less; default: none",
    )
    parser.add_argument(
        "--reliability-k",
        metavar="K",
        type=int,
        help="nearest neighbours among which an entry misleads; default: 10",
    )
    parser.add_argument(
        "--reranker",
        metavar="NAME",
        help="a re-ranker of the server, which reweights the neighbours; none: do without; "
        "default: the memory's",
    )
    add_path(
        parser,
        "--domain",
        "FOLDER",
        "pictures of the domain of those asked, such as drawings, by whose mean these are centred; "
        "it may be the folder asked",
    )


def classify(client: Client, options: Namespace) -> int:
    """Print the decision on each picture; return 1 if pictures were left out."""
    refuse_without(options, "--coverage-by", "--coverage", options.coverage is not None)
    check_vote(options)
    if options.domain and (options.calibrated or options.coverage is not None):
        other = "--calibrated" if options.calibrated else "--coverage"
        raise WrongUsage(
            f"argument --domain: not allowed with argument {other}, for the calibration is of "
            "pictures that were not centred"
        )
    memory = client.memory(options.name)
    shown = options.neighbors
    if shown is None and not options.json:
        shown = 1

    domain_mean = mean_of_domain(memory, options)

    def decide(images: Sequence[Path]) -> list[Decision]:
        return memory.classify(
            images=images,
            domain_mean=domain_mean,
            calibrated=options.calibrated,
            coverage=options.coverage,
            coverage_by=options.coverage_by,
            min_confidence=options.min_confidence,
            neighbors=shown,
            **vote(options),
        )

    answered = query_in_batches(client, options, find_pictures(options), decide)
    if options.min_confidence is not None and not memory.taxonomy().parents:
        say(
            f"{options.name} has no taxonomy, so its nodes are its labels; in Python set_taxonomy "
            "sets one.",
            file=sys.stderr,
        )
    if options.json:
        print_json_array(as_json(path, decision) for path, decision in answered.answers)
    else:
        rows = [
            (path, each.label, each.confidence, *more(each, options), ", ".join(each.neighbors.ids))
            for path, each in answered.answers
        ]
        headers = {"calibrated": options.calibrated, "labels": options.coverage}
        headers["node"] = options.min_confidence
        added = [name for name, wanted in headers.items() if wanted]
        by_head = deciding_rule(memory.info().default_rule, options).head != "none"
        share, meaning = ("score", SCORE) if by_head else ("vote share", VOTE_SHARE)
        show((path, f"{path}: {each.label}") for path, each in answered.answers)
        print_table(("picture", "label", share, *added, "nearest"), rows)
        if sys.stderr.isatty() and not options.calibrated:
            say(meaning.format(name=options.name), file=sys.stderr)
        report(problems(decision for _, decision in answered.answers))
    if any(decision.calibration_stale for _, decision in answered.answers):
        say(
            f"{options.name} was changed since it was calibrated; "
            f"visual-memory calibrate {options.name}   does it anew, {LIKE_BEFORE}.",
            file=sys.stderr,
        )
    if options.calibrated:
        report_drift(memory)
    bad_pictures.report(answered.bad)
    return 1 if answered.bad else 0


def report_drift(memory: Memory) -> None:
    """Say on standard error that what ``memory`` was asked of late drifts, if it does."""
    info = memory.info()
    if info.calibration and info.drift and info.drift.drifting:
        say(f"{info.name}: {sentence(info.drift, stale=info.calibration.stale)}", file=sys.stderr)


def find_pictures(options: Namespace) -> PictureFiles:
    """Find the pictures of a command, and report the other files in their folders."""
    found = pictures.find_files(options.images)
    bad_pictures.report_remarks(found.others, found.remarks)
    return found


def mean_of_domain(memory: Memory, options: Namespace) -> NDArray[np.float32] | None:
    """Return the mean of the vectors of the pictures in ``--domain``, or None without it.

    Raises Refused if one cannot be used and ``--skip-bad`` is not given, or if fewer than two can.
    """
    if options.domain is None:
        return None
    if not options.domain.is_dir():
        raise Refused(f"There is no folder {options.domain}.")
    found = pictures.find_files([options.domain])
    bad = {str(path): why for path, why in found.bad.items()}
    vectors = bad_pictures.send(memory.embed, list(found.pictures), str, bad, options)
    bad_pictures.refuse(bad, options, done="asked", do="ask about")
    bad_pictures.report(bad)
    count = 0 if vectors is None else len(vectors)
    if vectors is None or count < 2:
        raise Refused(
            f'The folder "{options.domain}" has {plural(count, "picture")}; '
            "--domain needs two at least."
        )
    mean: NDArray[np.float32] = vectors.mean(axis=0)
    return mean


def check_vote(options: Namespace) -> None:
    """Raise WrongUsage for an option of ``add_vote`` that counts with another alone."""
    soft = options.reliability == "soft"
    refuse_without(options, "--reliability-k", "--reliability soft", soft)


def vote(options: Namespace) -> dict[str, Any]:
    """Return the options that ``add_vote`` adds as arguments of ``Memory.classify``."""
    names = ("filter", "reliability", "reliability_k", "reranker")
    return rule(options) | {name: getattr(options, name) for name in names}


def problems(decisions: Iterable[Decision]) -> Counter[str]:
    """Count by problem the decisions that were to be re-ranked by a server, but were not."""
    rerankings = [each.reranking for each in decisions if each.reranking]
    return Counter(each.problem for each in rerankings if not each.applied)


def report(problems: Counter[str]) -> None:
    """Print to standard error how many pictures were not re-ranked, for each problem."""
    for problem, count in problems.most_common():
        say(f"{plural(count, 'picture')} not re-ranked: {problem}", file=sys.stderr)


def more(decision: Decision, options: Namespace) -> Iterator[str]:
    """Yield a table cell for each option given of --calibrated, --coverage, --min-confidence."""
    if options.calibrated:
        sure = f"{decision.calibrated_confidence:.4f}"
        yield "rejected" if decision.rejected else sure
    if options.coverage:
        yield ", ".join(decision.label_set or ())
    if options.min_confidence:
        yield decision.node.name if decision.node else ""


def query_in_batches(
    client: Client,
    options: Namespace,
    files: PictureFiles,
    question: Callable[[Sequence[Path]], Sequence[Answer]],
) -> Answered[Answer]:
    """Send pictures in batches; return the answers, and the reasons for pictures left out.

    ``question`` sends a batch and returns an answer for each picture. Raises Refused before
    anything is sent if pictures cannot be used and ``--skip-bad`` is not given, or afterwards if
    all pictures were left out.
    """
    client.memory(options.name).info()  # raises if there is none, before pictures are checked
    bad = {str(path): why for path, why in files.bad.items()}
    bad |= undecodable(files.pictures, client.server_info().limits)
    bad_pictures.refuse(bad, options, done="asked", do="ask about")
    good = [path for path in files.pictures if str(path) not in bad]
    answers: list[tuple[Path, Answer]] = []
    with Progress("pictures", len(good)) as progress:
        for batch in batches(good):
            count = len(batch)
            answered = bad_pictures.send(question, batch, str, bad, options)
            answers.extend(zip(batch, answered or (), strict=True))
            progress.add(count)
        seconds = progress.seconds
    if not answers:
        raise Refused(*bad_pictures.lines(bad), "Nothing was asked, because no picture is left.")
    return Answered(answers, bad, seconds)


def undecodable(paths: Sequence[Path], limits: Limits) -> dict[str, str]:
    """Map the path of each picture that cannot be read or decoded to the reason."""
    bad: dict[str, str] = {}
    with Progress("pictures checked", len(paths)) as progress:
        for batch in batches(paths):
            found = pictures.faults(batch, limits)
            bad |= {str(path): why for path, why in zip(batch, found, strict=True) if why}
            progress.add(len(batch))
    return bad


def batches(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Split paths into batches of at most BATCH paths."""
    for start in range(0, len(paths), BATCH):
        yield list(paths[start : start + BATCH])


def as_json(path: Path, decision: Decision) -> dict[str, Any]:
    """Return a picture's path and every field of its decision as JSON values."""
    return {
        "picture": str(path),
        "label": decision.label,
        "confidence": decision.confidence,
        "scores": decision.scores,
        "calibrated_confidence": decision.calibrated_confidence,
        "calibration_stale": decision.calibration_stale,
        "rejected": decision.rejected,
        "label_set": decision.label_set,
        "node": asdict(decision.node) if decision.node else None,
        "reranking": asdict(decision.reranking) if decision.reranking else None,
        "neighbors": [{**near_json(each), "weight": each.weight} for each in decision.neighbors],
    }


def near_json(neighbor: Neighbor) -> dict[str, Any]:
    """Return id, label and distance of a neighbour."""
    return {"id": neighbor.id, "label": neighbor.label, "distance": neighbor.distance}
