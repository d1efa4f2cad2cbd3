"""Pages of the explorer over a large memory: the first page of entries, and the map once computed.

Each is loaded by a plain HTTP client, which leaves out what a browser takes to draw it.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
import urllib.parse
import urllib.request

import numpy as np
from served import folder, median, seconds, served, started

import visual_memory

GOALS = {"first page of entries": 1.0, "map and its points": 2.0, "one entry of the map": 1.0}
LABELS, BATCH, REPEAT = 100, 5000, 7
NAME = "large"


def fill(target: str, count: int, dimension: int) -> None:
    """Make a memory of so many vectors around a hundred centres."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((LABELS, dimension))
    with visual_memory.connect(target) as client:
        memory = client.create_memory(NAME, dimension=dimension)
        for first in range(0, count, BATCH):
            numbers = range(first, min(first + BATCH, count))
            labels = rng.integers(LABELS, size=len(numbers))
            vectors = centres[labels] + rng.standard_normal((len(numbers), dimension))
            memory.insert(
                vectors=vectors.astype(np.float32),
                labels=[f"label {label:03}" for label in labels],
                ids=[f"{number:07}" for number in numbers],
            )


def measure(web: str) -> tuple[dict[str, float], float]:
    """Return the median seconds of each page by name, and those of the map's computation."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    browser.addheaders = [("Origin", web)]

    def load(path: str, **form: str) -> bytes:
        data = urllib.parse.urlencode(form).encode() if form else None
        with browser.open(web + path, data) as answer:
            body: bytes = answer.read()
            return body

    load("/login")
    of = f"/memories/{NAME}"
    secret = re.search(rb'name="csrf" value="([^"]+)"', load(f"{of}/map"))
    assert secret is not None

    def compute() -> None:
        load(f"{of}/map", csrf=secret[1].decode())
        while b'id="plane"' not in load(f"{of}/map"):
            time.sleep(0.5)

    def show() -> None:
        load(f"{of}/map")
        load(f"{of}/map/points")

    computed = seconds(compute)
    pages = {
        "first page of entries": lambda: load(of),
        "map and its points": show,
        "one entry of the map": lambda: load(f"{of}/map/point?n=7"),
    }
    return {name: median(page, REPEAT) for name, page in pages.items()}, computed


def main() -> int:
    """Print the figures; return 1 if a page misses its goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=512)
    asked = parser.parse_args()
    with folder() as data, served(data) as server:
        fill(server.address, asked.entries, asked.dimension)
        with started("explorer", "--server", server.address) as explorer:
            found, computed = measure(explorer.address)
    print(
        f"{asked.entries:,} entries of {asked.dimension} numbers; map computed in {computed:.0f} s"
    )
    for name, value in found.items():
        print(f"{name:24} {value:6.3f} s, at most {GOALS[name]:.0f} s")
    return int(any(value > GOALS[name] for name, value in found.items()))


if __name__ == "__main__":
    sys.exit(main())
