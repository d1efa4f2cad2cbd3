"""The page of the demo: one HTML file with all pictures in it."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator, Sequence
from html import escape
from io import BytesIO
from itertools import zip_longest
from pathlib import Path

from PIL import Image, ImageOps

from visual_memory.terminal.output import percent, plural
from visual_memory.terminal.refused import Refused
from visual_memory.types import Decision, Neighbor
from visual_memory_service.console import files
from visual_memory_service.demo.outcome import Answers, K, Log, Outcome
from visual_memory_service.demo.pictures import Collection
from visual_memory_service.pictures.pictures import Picture

MARK = re.compile(r"<!--([A-Z]+)-->")
TEMPLATE = Path(__file__).with_name("page.html")
WRONG_SHOWN = 8
SHOWN = 24
NEW_SHOWN = 6
QUERY_PIXELS = 240
NEIGHBOR_PIXELS = 120
Classified = tuple[Picture, Decision]


def page_path(folder: Path) -> Path:
    """Create the folder and return the path of the page. Raises Refused if it is not writable."""
    page = folder / "demo.html"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"{folder} cannot be the folder of the page: {error.strerror}.") from None
    files.refuse(page, force=True)
    if not os.access(page if page.exists() else folder, os.W_OK):
        raise Refused(f"{page} cannot be written: Permission denied.")
    return page


def write_page(page: Path, log: Log, collection: Collection, outcome: Outcome) -> None:
    """Write the page: the demo's printed lines, scores, and pictures with their neighbours."""
    paths = {p.id: p.path for pictures in collection.seen.values() for p in pictures}
    learnt = outcome.learnt.pictures[:NEW_SHOWN]
    known, new = len(collection.known(collection.seen)), len(collection.seen[collection.held_back])
    voters = [min(K, count) for count in (known, known + new, known)]
    stages = [each.decisions for each in (outcome.before, outcome.learnt, outcome.forgotten)]
    shown = chosen(outcome.known)
    parts = {
        "TILES": "".join(tiles(outcome, escape(collection.held_back))),
        "LOG": "".join(f"<dt>{escape(a)}</dt><dd>{escape(b)}</dd>" for a, b in log.lines),
        "TITLE": escape(collection.title),
        "CREDIT": escape(collection.credit),
        "NEW": escape(collection.held_back),
        "LEARNT": "".join(map(lambda p, *d: three_times(p, d, paths, voters), learnt, *stages)),
        "KNOWN": "".join(card(*classified, paths, voters[0]) for classified in shown),
        "COUNT": f"{len(shown)} of {len(outcome.known.pictures)}",
    }
    html = MARK.sub(lambda mark: parts[mark[1]], TEMPLATE.read_text(encoding="utf-8"))
    page.write_text(html, encoding="utf-8")


def tiles(outcome: Outcome, new: str) -> Iterator[str]:
    """Render the scores at the top of the page; ``new`` is the name of the new class."""
    count = len(outcome.known.pictures)
    yield tile(outcome.known, f"right on {plural(count, 'picture')} it has never seen")
    yield tile(outcome.before, f"of “{new}” before it was shown any")
    yield tile(outcome.learnt, "after a few were added, without training")
    yield tile(outcome.forgotten, "after they were deleted")


def tile(answers: Answers, text: str) -> str:
    """Render the score of ``answers`` above a text."""
    number = percent(answers.right, len(answers.pictures))
    return f"<div class=tile><b>{number}</b><span>{text}</span></div>"


def chosen(answers: Answers) -> list[Classified]:
    """Choose the pictures to show: wrong ones first, then right ones, alternating classes."""
    classified = list(zip(answers.pictures, answers.decisions, strict=True))
    wrong = [each for each in classified if each[0].label != each[1].label][:WRONG_SHOWN]
    by_label: dict[str, list[Classified]] = {}
    for picture, decision in classified:
        if picture.label == decision.label:
            by_label.setdefault(picture.label, []).append((picture, decision))
    turns = zip_longest(*by_label.values())
    right = [each for turn in turns for each in turn if each]
    return [*wrong, *right][:SHOWN]


def three_times(
    picture: Picture, decisions: Sequence[Decision], paths: dict[str, Path], voters: Sequence[int]
) -> str:
    """Render a picture of the new class with the decisions before, with and after its entries.

    ``paths`` are the entries' pictures by id; ``voters`` counts the neighbours of each decision.
    """
    names = ("before", "learnt", "forgotten")
    stages = "".join(
        f"<div class=stage><h4>{name}</h4>{verdict(picture, decision)}"
        f"{strip(decision.neighbors[:4], paths, count)}</div>"
        for name, decision, count in zip(names, decisions, voters, strict=True)
    )
    return f"<article class=new>{query(picture)}<div class=stages>{stages}</div></article>"


def card(picture: Picture, decision: Decision, paths: dict[str, Path], voters: int) -> str:
    """Render a picture with its decision and the neighbours shown, of ``voters`` that voted."""
    kind = "right" if picture.label == decision.label else "wrong"
    return (
        f"<article class='card {kind}'>{query(picture)}<div>{verdict(picture, decision)}"
        f"{strip(list(decision.neighbors), paths, voters)}</div></article>"
    )


def query(picture: Picture) -> str:
    """Render the query picture with its true label."""
    image = f"<img src='{thumbnail(picture.path, QUERY_PIXELS)}' alt=''>"
    caption = f"<figcaption>{escape(picture.label)}</figcaption>"
    return f"<figure class=query>{image}{caption}</figure>"


def verdict(picture: Picture, decision: Decision) -> str:
    """Render the label decided, its share of the votes, and whether it is right."""
    kind, mark = ("right", "✓") if picture.label == decision.label else ("wrong", "✗")
    share = f"{100 * decision.confidence:.0f} %"
    return (
        f"<p class='verdict {kind}'><i>{mark}</i><b>{escape(decision.label)}</b>"
        f"<span class=bar><span style='width:{share.replace(' ', '')}'></span></span>"
        f"<small title='of the votes'>{share}</small></p>"
    )


def strip(neighbors: Sequence[Neighbor], paths: dict[str, Path], voters: int) -> str:
    """Render neighbours with distance and weight as bars; ``voters`` is how many voted in all."""
    heaviest = max(each.weight for each in neighbors)
    shown = f"{len(neighbors)} of the {plural(voters, 'neighbour')} that vote"
    return (
        f"<ol>{''.join(near(each, paths, heaviest) for each in neighbors)}</ol>"
        f"<small class=shown>{shown}</small>"
    )


def near(neighbor: Neighbor, paths: dict[str, Path], heaviest: float) -> str:
    """Render one neighbour with its picture; ``heaviest`` is the weight of a full bar."""
    image = thumbnail(paths[neighbor.id], NEIGHBOR_PIXELS)
    return (
        f"<li title='{escape(neighbor.id)}'><img src='{image}' alt=''>"
        f"<em>{escape(neighbor.label)}</em>"
        f"{measure('distance', neighbor.distance, 1.0)}"
        f"{measure('weight', neighbor.weight, heaviest)}</li>"
    )


def measure(name: str, value: float, most: float) -> str:
    """Render a number with a bar, which is full at ``most``."""
    width = f"{100 * min(value / most, 1):.0f}%"
    return (
        f"<span class='measure {name}' title='{name} {value:.4f}'><small>{value:.2f}</small>"
        f"<span><span style='width:{width}'></span></span></span>"
    )


def thumbnail(path: Path, pixels: int) -> str:
    """Make a square JPEG thumbnail as a data URI."""
    with Image.open(path) as image:
        image.draft("RGB", (2 * pixels, 2 * pixels))
        upright = ImageOps.exif_transpose(image).convert("RGBA")
    white = Image.new("RGBA", upright.size, "white")
    square = ImageOps.fit(Image.alpha_composite(white, upright).convert("RGB"), (pixels, pixels))
    buffer = BytesIO()
    square.save(buffer, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
