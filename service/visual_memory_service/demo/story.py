"""What the demo does, step by step, and what it says of each."""

from __future__ import annotations

import re
import signal
import statistics
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import NoReturn

import visual_memory
from visual_memory import Memory
from visual_memory.terminal.arguments import Commands, add
from visual_memory.terminal.output import percent, plural, printable
from visual_memory.terminal.progress import Progress
from visual_memory.terminal.refused import Refused
from visual_memory.types import Decision
from visual_memory_service.console import server_libraries
from visual_memory_service.demo.page import K, prepare, write_page
from visual_memory_service.demo.pictures import Collection, collect
from visual_memory_service.demo.server import running_server
from visual_memory_service.pictures.pictures import Picture

NEIGHBORS = 8
TIMED_ALONE = 20


@dataclass(frozen=True, slots=True)
class Answers:
    """Pictures with what the memory decided about them."""

    pictures: Sequence[Picture]
    decisions: Sequence[Decision]

    @property
    def right(self) -> int:
        """How many decisions are the picture's label."""
        pairs = zip(self.pictures, self.decisions, strict=True)
        return sum(picture.label == decision.label for picture, decision in pairs)

    @property
    def score(self) -> str:
        """``7 of 8 right``."""
        return f"{self.right} of {len(self.pictures)} right"

    def mentions(self, label: str) -> bool:
        """Whether any decision, vote or neighbour shown is of this label."""
        return any(
            label in each.scores or label in each.neighbors.labels for each in self.decisions
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """The known classes, and the class held back: before it was shown, learnt, forgotten."""

    known: Answers
    before: Answers
    learnt: Answers
    forgotten: Answers


@dataclass(frozen=True, slots=True)
class Story:
    """What is said of each step, with its title."""

    lines: list[tuple[str, str]] = field(default_factory=list)

    def say(self, title: str, text: str) -> None:
        """Print a line, and keep it."""
        self.lines.append((title, text))
        print(printable(f"{title:<10}{text}"), flush=True)


def add_to(commands: Commands) -> None:
    parser = add(
        commands, "demo", "show learning and forgetting on pictures, with a server of its own"
    )
    parser.add_argument(
        "--images",
        metavar="FOLDER",
        type=Path,
        help="your pictures, a folder per class; default: ten classes of Caltech-101",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        default=Path("demo-output"),
        help="where demo.html goes; default: demo-output",
    )
    parser.set_defaults(run=demo)


def demo(options: Namespace) -> int:
    """Tell the story and write the page. Raises Refused where it does not come out as claimed."""
    server_libraries.need("the demo")
    signal.signal(signal.SIGTERM, leave)
    with TemporaryDirectory(prefix="visual-memory-demo-") as folder:
        collection = collect(options.images)
        if collection.odd:
            print(*map(printable, collection.odd), sep="\n", file=sys.stderr)
        page = prepare(options.output)
        story = Story()
        story.say(
            "Pictures",
            f"{collection.title}: {len(collection.seen)} classes, "
            f"{plural(collection.count, 'picture')}, one in five kept for asking",
        )
        began = time.perf_counter()
        with running_server(Path(folder)) as target, visual_memory.connect(target) as client:
            memory = client.create_memory("demo")
            ready = time.perf_counter() - began
            story.say("Server", f"on {target}, ready in {ready:.1f} s, gone when this ends")
            outcome = tell(story, collection, memory)
        write_page(page, story, collection, outcome)
    story.say("Page", str(page))
    check(outcome, collection.held_back)
    return 0


def leave(number: int, frame: FrameType | None) -> NoReturn:
    """Turn SIGTERM into an exit that cleans up, with the code that shells have for it."""
    sys.exit(128 + number)


def tell(story: Story, collection: Collection, memory: Memory) -> Outcome:
    """Remember, classify, learn, forget."""
    new = collection.held_back
    known = collection.known(collection.seen)
    took = insert(memory, known)
    story.say(
        "Remember",
        f"{plural(len(known), 'picture')} of {plural(len(collection.seen) - 1, 'class')} "
        f"in {took:.1f} s, {len(known) / took:,.0f}/s",
    )

    unseen = collection.known(collection.unseen)
    alone = milliseconds_alone(memory, unseen)
    began = time.perf_counter()
    answers = ask(memory, unseen)
    rate = len(unseen) / (time.perf_counter() - began)
    share = percent(answers.right, len(unseen))
    story.say("Classify", f"{plural(len(unseen), 'picture')} never seen: {share} right")
    story.say("", f"{alone:.1f} ms for one picture alone, {rate:,.0f}/s together")

    before = ask(memory, collection.unseen[new])
    took = insert(memory, collection.seen[new])
    learnt = ask(memory, collection.unseen[new])
    story.say("Learn", f"“{new}”, a class it does not know: {before.score}")
    added = plural(len(collection.seen[new]), "picture")
    story.say("", f"{added} added in {took:.2f} s, without training: {learnt.score}")

    began = time.perf_counter()
    deleted = memory.purge(f'label = "{escaped(new)}"', apply=True).count
    took = 1000 * (time.perf_counter() - began)
    forgotten = ask(memory, collection.unseen[new])
    story.say("Forget", f"{plural(deleted, 'entry')} deleted in {took:.0f} ms: {forgotten.score}")
    if forgotten.decisions == before.decisions:
        story.say("", "every decision is what it was before, to the last bit")
    return Outcome(answers, before, learnt, forgotten)


def insert(memory: Memory, pictures: Sequence[Picture]) -> float:
    """Remember pictures; the seconds it took."""
    with Progress("pictures", len(pictures)) as progress:
        memory.insert(
            images=[picture.path for picture in pictures],
            labels=[picture.label for picture in pictures],
            ids=[picture.id for picture in pictures],
            progress=lambda done, total: progress.reach(done),
        )
        return progress.seconds


def ask(memory: Memory, pictures: Sequence[Picture]) -> Answers:
    """Classify pictures together."""
    images = [picture.path for picture in pictures]
    return Answers(pictures, memory.classify(images=images, k=K, neighbors=NEIGHBORS))


def milliseconds_alone(memory: Memory, pictures: Sequence[Picture]) -> float:
    """The median time of one call for one picture."""
    times = []
    for picture in pictures[:TIMED_ALONE]:
        began = time.perf_counter()
        memory.classify(images=[picture.path], k=K, neighbors=NEIGHBORS)
        times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times)


def escaped(label: str) -> str:
    """A label as it stands between quotes in a filter."""
    return re.sub(r'(["\\*])', r"\\\1", label)


def check(outcome: Outcome, new: str) -> None:
    """Raises Refused with the claims that did not hold."""
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
