"""The page of the demo: one HTML file with all pictures in it."""

from __future__ import annotations

import base64
import os
from io import BytesIO
from itertools import zip_longest
from pathlib import Path

from PIL import Image, ImageOps

from visual_memory.terminal.output import percent, plural
from visual_memory.terminal.refused import Refused
from visual_memory.types import Decision
from visual_memory_explorer.pages import render
from visual_memory_service.console import files
from visual_memory_service.demo.outcome import Answers, K, Log, Outcome
from visual_memory_service.demo.pictures import Collection
from visual_memory_service.pictures.pictures import Picture

WRONG_SHOWN = 8
SHOWN = 24
NEW_SHOWN = 6
STAGES = ("before", "learnt", "forgotten")
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
    known, new = len(collection.known(collection.seen)), len(collection.seen[collection.held_back])
    decisions = [each.decisions for each in (outcome.before, outcome.learnt, outcome.forgotten)]
    learnt = list(zip(outcome.learnt.pictures, zip(*decisions, strict=True), strict=True))
    voters = [min(K, count) for count in (known, known + new, known)]
    html = render(
        "demo.html",
        title=collection.title,
        credit=collection.credit,
        new=collection.held_back,
        tiles=tiles(outcome, collection.held_back),
        log=log.lines,
        learnt=learnt[:NEW_SHOWN],
        stages=list(zip(STAGES, voters, strict=True)),
        known=chosen(outcome.known),
        count=len(outcome.known.pictures),
        voters=voters[0],
        paths={p.id: p.path for pictures in collection.seen.values() for p in pictures},
        thumbnail=thumbnail,
    )
    page.write_text(html, encoding="utf-8")


def tiles(outcome: Outcome, new: str) -> list[tuple[str, str]]:
    """Return the scores at the top of the page; ``new`` is the name of the new class."""
    count = len(outcome.known.pictures)
    scores = {
        f"right on {plural(count, 'picture')} it has never seen": outcome.known,
        f"of “{new}” before it was shown any": outcome.before,
        "after a few were added, without training": outcome.learnt,
        "after they were deleted": outcome.forgotten,
    }
    return [(percent(each.right, len(each.pictures)), says) for says, each in scores.items()]


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
