"""A program like a notebook: cells that Ctrl-C ends at random moments, beside threads that go on.

``python interrupted.py ADDRESS FOLDER INTERRUPTS SEED`` prints its counts and ends with 0 if no
call took too long, no thread failed, and each interrupt was raised within 5 s. Otherwise it prints
the reason and a traceback of each thread, and ends with another code.
"""

from __future__ import annotations

import faulthandler
import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

import numpy as np

import visual_memory
from visual_memory import Client, Memory

DIMENSION, ENTRIES, BATCHES = 8, 120, 3
TIMEOUT = 20.0  # of the client, in seconds
MARGIN = 20.0  # for a machine that is busy with others
PROMPT = 5.0
PAUSE = 0.1  # between interrupts, at most
HUNG, FAILED = 70, 71


class Watch:
    """Ends this process if something takes too long or fails."""

    def __init__(self) -> None:
        self._begun: dict[int, tuple[str, float]] = {}
        threading.Thread(target=self._look, daemon=True).start()

    @contextmanager
    def over(self, what: str) -> Iterator[None]:
        """Context manager: end the process if the block takes too long."""
        mine = threading.get_ident()
        self._begun[mine] = what, time.monotonic()
        try:
            yield
        finally:
            self._begun.pop(mine, None)

    def end(self, code: int, why: str) -> NoReturn:
        """Print the reason and a traceback of each thread, then end the process."""
        print(why, file=sys.stderr, flush=True)
        faulthandler.dump_traceback(all_threads=True)
        os._exit(code)

    def _look(self) -> None:
        while True:
            time.sleep(0.2)
            for what, began in list(self._begun.values()):
                if time.monotonic() - began > TIMEOUT + MARGIN:
                    self.end(HUNG, f"{what} hangs after {done} interrupts: {dict(counts)}.")


class Interrupts:
    """SIGINT from another thread at random moments, up to three at once, for cells only."""

    def __init__(self, chance: random.Random) -> None:
        self._chance, self._left = chance, 0
        self._sent = 0.0
        self.latest = 0.0
        signal.signal(signal.SIGINT, self._strike)
        threading.Thread(target=self._send, daemon=True).start()

    def arm(self) -> None:
        """Allow interrupts from now on, for the next cell."""
        self._left = self._chance.choice([1, 1, 1, 2, 3])

    def disarm(self) -> None:
        """Stop interrupts at the end of a cell, and note how long this one took to arrive."""
        self._left = 0
        if self._sent:
            self.latest = max(self.latest, time.monotonic() - self._sent)
            self._sent = 0.0

    def _strike(self, number: int, frame: FrameType | None) -> None:
        if self._left:
            self._left -= 1
            raise KeyboardInterrupt

    def _send(self) -> None:
        while True:
            time.sleep(self._chance.uniform(0, PAUSE))
            if left := self._left:
                self._sent = self._sent or time.monotonic()
                for _ in range(left):
                    os.kill(os.getpid(), signal.SIGINT)
                    time.sleep(self._chance.choice([0, 0.0001, 0.001]))


class Work:
    """The calls that a cell chooses from."""

    def __init__(self, address: str, folder: Path, chance: random.Random) -> None:
        self._address, self._folder, self._chance = address, folder, chance
        self._rows = np.random.default_rng(chance.random().as_integer_ratio()[0]).normal(
            size=(ENTRIES * BATCHES, DIMENSION)
        )
        self._importing = f"import-{chance.getrandbits(64):x}"
        self.kinds: dict[str, Callable[[Client], object]] = {
            "classify": lambda client: self._memory(client).classify(vectors=self._rows[:2]),
            "ask": lambda client: self._memory(client).classify(vectors=self._rows),
            "search": lambda client: self._memory(client).search(vectors=self._rows[:1], k=3),
            "insert": self._insert,
            "import": self._import,
            "wait": lambda client: self._memory(client).check(),
            "entries": lambda client: list(self._memory(client).entries()),
            "values": lambda client: self._memory(client).values(),
            "backup": self._backup,
            "restore": self._restore,
            "connect": self._connect,
        }

    def fill(self, client: Client) -> None:
        """Create the memories and the backup that the calls use."""
        memory = client.create_memory("pets", dimension=DIMENSION)
        labels = ["cat", "dog"] * (ENTRIES // 2)
        memory.insert(vectors=self._rows[:ENTRIES], labels=labels)
        client.create_memory("crowd", dimension=DIMENSION)
        client.backup("pets", self._folder / "pets.backup")

    def one(self, client: Client, watch: Watch) -> None:
        """Make one call, chosen at random."""
        kind = self._chance.choice(list(self.kinds))
        with watch.over(kind):
            self.kinds[kind](client)
        counts[kind] += 1

    def _memory(self, client: Client) -> Memory:
        return client.memory("pets")

    def _insert(self, client: Client) -> None:
        client.memory("crowd").insert(vectors=self._rows[:2], labels=["cat", "dog"])

    def _import(self, client: Client) -> None:
        """Begin an import, or resume one that was interrupted: nothing is stored twice."""
        found = client.memory("crowd").insert(
            vectors=self._rows, labels=["cat"] * len(self._rows), request_id=self._importing
        )
        self._importing = f"import-{self._chance.getrandbits(64):x}"
        assert len(set(found.ids)) == len(self._rows)

    def _backup(self, client: Client) -> None:
        client.backup("pets", self._folder / f"{threading.get_ident()}.backup", overwrite=True)

    def _restore(self, client: Client) -> None:
        name = f"r{self._chance.getrandbits(64):x}"
        client.restore(self._folder / "pets.backup", name)
        client.delete_memory(name)

    def _connect(self, client: Client) -> None:
        with visual_memory.connect(self._address, timeout=TIMEOUT) as own:
            self._memory(own).info()
            self._memory(own).classify(vectors=self._rows[:2])


done = 0
counts: Counter[str] = Counter()


def beside(work: Work, client: Client, watch: Watch, over: threading.Event) -> None:
    """Make calls in a thread until ``over`` is set; end the process if one fails."""
    while not over.is_set():
        try:
            work.one(client, watch)
        except BaseException as error:
            watch.end(FAILED, f"A thread that nobody interrupted failed: {error!r}.")


def cell(interrupts: Interrupts, act: Callable[[], object]) -> None:
    """Repeat ``act`` until it is interrupted, up to twice more while that is handled."""
    try:
        try:
            try:
                interrupts.arm()
                while True:
                    act()
            except KeyboardInterrupt:
                interrupts.disarm()
        except KeyboardInterrupt:
            interrupts.disarm()
    except KeyboardInterrupt:
        interrupts.disarm()


def main() -> int:
    global done
    address, folder = sys.argv[1], Path(sys.argv[2])
    total, chance = int(sys.argv[3]), random.Random(int(sys.argv[4]))
    watch = Watch()
    client = visual_memory.connect(address, timeout=TIMEOUT)
    works = [Work(address, folder, random.Random(chance.random())) for _ in range(5)]
    works[0].fill(client)
    over, own = threading.Event(), visual_memory.connect(address, timeout=TIMEOUT)
    threads = [
        threading.Thread(target=beside, args=(work, each, watch, over))
        for work, each in zip(works[1:], [client, client, client, own], strict=True)
    ]
    for thread in threads:
        thread.start()
    interrupts = Interrupts(random.Random(chance.random()))
    while done < total:
        cell(interrupts, lambda: works[0].one(client, watch))
        done += 1
        with watch.over("the next call"):
            client.memory("pets").info()
        if interrupts.latest > PROMPT:
            watch.end(FAILED, f"An interrupt came out after {interrupts.latest:.1f} s.")
    over.set()
    with watch.over("the end of the threads"):
        for thread in threads:
            thread.join()
    with watch.over("close"):
        own.close()
        client.close()
    print(json.dumps({"latest": round(interrupts.latest, 3), "done": counts}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
