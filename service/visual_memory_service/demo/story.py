"""The steps of the demo, from an empty memory to the page."""

from __future__ import annotations

import signal
import statistics
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

import visual_memory
from visual_memory import Memory
from visual_memory.terminal.arguments import Commands, add
from visual_memory.terminal.output import percent, plural, printable
from visual_memory.terminal.progress import Progress
from visual_memory.terminal.refused import Refused
from visual_memory_service.console import server_libraries
from visual_memory_service.console.arguments import add_path, in_filter
from visual_memory_service.demo.outcome import Answers, K, Log, Outcome
from visual_memory_service.demo.page import page_path, write_page
from visual_memory_service.demo.pictures import Collection, collect
from visual_memory_service.pictures.pictures import Picture

NEIGHBORS = 8
TIMED_ALONE = 20


def add_to(commands: Commands) -> None:
    parser = add(
        commands, "demo", "show learning and forgetting on pictures, with a temporary server"
    )
    add_path(
        parser,
        "--images",
        "FOLDER",
        "your pictures, with a folder for each label; default: ten classes of Caltech-101",
    )
    add_path(
        parser,
        "--output",
        "DIR",
        "the folder for demo.html; default: demo-output",
        default=Path("demo-output"),
    )
    parser.set_defaults(run=demo)


def demo(options: Namespace) -> None:
    """Run the demo and write its page. Raises Refused if a claim does not hold."""
    server_libraries.need("the demo")
    signal.signal(signal.SIGTERM, leave)
    collection = collect(options.images)
    if collection.remarks:
        print(*map(printable, collection.remarks), sep="\n", file=sys.stderr)
    page = page_path(options.output)
    log = Log()
    log.say(
        "Pictures",
        f"{collection.title}: {len(collection.seen)} classes, "
        f"{plural(collection.count, 'picture')}, one in five kept for asking",
    )
    began = time.perf_counter()
    with visual_memory.connect() as client:
        memory = client.create_memory("demo")
        ready = time.perf_counter() - began
        log.say("Server", f"on {client.target}, ready in {ready:.1f} s, gone when this ends")
        outcome = run_steps(log, collection, memory)
    write_page(page, log, collection, outcome)
    log.say("Page", str(page))
    check(outcome, collection.held_back)


def leave(number: int, frame: FrameType | None) -> NoReturn:
    """Signal handler that exits with clean-up and the exit code that a shell expects."""
    sys.exit(128 + number)


def run_steps(log: Log, collection: Collection, memory: Memory) -> Outcome:
    """Insert, classify, insert the class held back, delete it; return the answers of each step."""
    new = collection.held_back
    known = collection.known(collection.seen)
    took = insert(memory, known)
    log.say(
        "Remember",
        f"{plural(len(known), 'picture')} of {plural(len(collection.seen) - 1, 'class')} "
        f"in {took:.1f} s, {len(known) / took:,.0f}/s",
    )

    unseen = collection.known(collection.unseen)
    alone = milliseconds_alone(memory, unseen)
    began = time.perf_counter()
    answers = classify(memory, unseen)
    rate = len(unseen) / (time.perf_counter() - began)
    share = percent(answers.right, len(unseen))
    log.say("Classify", f"{plural(len(unseen), 'picture')} never seen: {share} right")
    log.say("", f"{alone:.1f} ms for one picture alone, {rate:,.0f}/s together")

    before = classify(memory, collection.unseen[new])
    took = insert(memory, collection.seen[new])
    learnt = classify(memory, collection.unseen[new])
    log.say("Learn", f"“{new}”, a class it does not know: {before.score}")
    added = plural(len(collection.seen[new]), "picture")
    log.say("", f"{added} added in {took:.2f} s, without training: {learnt.score}")

    began = time.perf_counter()
    deleted = memory.purge(f"label = {in_filter(new)}", apply=True).count
    took = 1000 * (time.perf_counter() - began)
    forgotten = classify(memory, collection.unseen[new])
    log.say("Forget", f"{plural(deleted, 'entry')} deleted in {took:.0f} ms: {forgotten.score}")
    if forgotten.decisions == before.decisions:
        log.say("", "every decision is what it was before, to the last bit")
    return Outcome(answers, before, learnt, forgotten)


def insert(memory: Memory, pictures: Sequence[Picture]) -> float:
    """Insert pictures and return the seconds it took."""
    with Progress("pictures", len(pictures)) as progress:
        memory.insert(
            images=[picture.path for picture in pictures],
            labels=[picture.label for picture in pictures],
            ids=[picture.id for picture in pictures],
            progress=lambda done, total: progress.reach(done),
        )
        return progress.seconds


def classify(memory: Memory, pictures: Sequence[Picture]) -> Answers:
    """Classify pictures in one call."""
    images = [picture.path for picture in pictures]
    return Answers(pictures, memory.classify(images=images, k=K, neighbors=NEIGHBORS))


def milliseconds_alone(memory: Memory, pictures: Sequence[Picture]) -> float:
    """Return the median time of a call with one picture, in milliseconds."""
    times = []
    for picture in pictures[:TIMED_ALONE]:
        began = time.perf_counter()
        memory.classify(images=[picture.path], k=K, neighbors=NEIGHBORS)
        times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times)


def check(outcome: Outcome, new: str) -> None:
    """Raise Refused with the claims of the demo on the class ``new`` that do not hold, if any."""
    claims = {
        "it classified no picture right": outcome.known.right > 0,
        f"it knew “{new}” before it was shown any": not outcome.before.mentions(new),
        f"it did not learn “{new}”": outcome.learnt.right > 0,
        f"it still knows “{new}”": not outcome.forgotten.mentions(new),
        "it decides otherwise after forgetting": outcome.forgotten.decisions
        == outcome.before.decisions,
    }
    broken = [claim for claim, holds in claims.items() if not holds]
    if broken:
        raise Refused(f"The demo did not show what it claims: {'; '.join(broken)}.")
