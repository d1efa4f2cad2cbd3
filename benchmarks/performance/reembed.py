"""Re-embedding of 5,000 pictures while the memory serves, with the server killed once.

Pictures are pieces of real ones, 64 pixels wide. A client classifies all the time, and another
inserts and deletes a few; both go on over the kill. At the end every vector must be that of the new
embedder, and no write may be lost.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image
from served import Served, folder, served

import visual_memory
from visual_memory import Memory

FORMER, NEW = "efficientnet-lite0", "efficientnet-lite1"
SIDE, CHECKED = 64, 200


def pieces(root: Path, count: int) -> list[bytes]:
    """Return JPEGs of pieces of the pictures below a folder."""
    choose, files, found = Random(0), sorted(root.rglob("*.jpg")), list[bytes]()
    while len(found) < count:
        with Image.open(choose.choice(files)) as opened:
            image = opened.convert("RGB")
        side = min(image.size) // 2
        left, top = (choose.randrange(each - side + 1) for each in image.size)
        piece = image.crop((left, top, left + side, top + side)).resize((SIDE, SIDE))
        data = BytesIO()
        piece.save(data, "JPEG", quality=90)
        found.append(data.getvalue())
    return found


class Others:
    """Two clients that ask and write until they are told to stop, at ``address``."""

    def __init__(self, pictures: list[bytes]) -> None:
        self.address, self._pictures, self._over = "", pictures, threading.Event()
        self.milliseconds: list[float] = []
        self.stored: set[str] = set()
        self.errors: list[str] = []
        self._threads = [threading.Thread(target=act) for act in (self._ask, self._write)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        while not self._over.is_set():
            try:
                with visual_memory.connect(self.address) as client:
                    while not self._over.is_set():
                        began = time.perf_counter()
                        client.memory("pets").classify(images=self._pictures[:1], k=5)
                        self.milliseconds.append(1000 * (time.perf_counter() - began))
                        self._over.wait(0.02)
            except visual_memory.Unavailable:  # killed
                self._over.wait(0.1)
            except visual_memory.Error as error:
                self.errors.append(str(error))

    def _write(self) -> None:
        number = 0
        while not self._over.is_set():
            try:
                with visual_memory.connect(self.address) as client:
                    id, pets = f"written {number}", client.memory("pets")
                    pets.insert(
                        images=[self._pictures[number]], labels=["new"], ids=[id], request_id=id
                    )
                    self.stored.add(id)
                    number += 1
            except visual_memory.Unavailable:
                pass
            except visual_memory.Error as error:
                self.errors.append(str(error))
            self._over.wait(2.0)


def begin(server: Served, pictures: list[bytes]) -> None:
    with visual_memory.connect(server.address) as client:
        pets = client.create_memory("pets", embedder=FORMER, store_images=True)
        ids = [f"picture {number:05}" for number in range(len(pictures))]
        labels = [f"label {number % 20}" for number in range(len(pictures))]
        pets.insert(images=pictures, labels=labels, ids=ids)


def are_new(pets: Memory, pictures: list[bytes]) -> bool:
    """Return True if the vectors of some entries are those of the new embedder."""
    numbers = Random(0).sample(range(len(pictures)), min(CHECKED, len(pictures)))
    wanted = pets.embed([pictures[number] for number in numbers])
    found = [pets.get(f"picture {number:05}", include_vector=True).vector for number in numbers]
    return np.array_equal(np.array(found), wanted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--images", type=Path, default=Path("../shared/data/natural16"))
    flags = parser.parse_args()
    pictures = pieces(flags.images, flags.pictures)
    others = Others(pictures)
    with folder() as work, ExitStack() as stopping:
        data = work / "data"
        with served(data) as server:
            others.address = server.address
            begin(server, pictures)
            others.start()
            stopping.callback(others.stop)
            threading.Event().wait(5)
            alone, others.milliseconds = others.milliseconds, []
            with visual_memory.connect(server.address) as client:
                began = time.perf_counter()
                name = client.memory("pets").reembed(NEW, former_name="before", wait=False).name
                while client.operation(name).done < flags.pictures // 2:
                    time.sleep(0.05)
                before = time.perf_counter() - began
            os.kill(server.pid, signal.SIGKILL)
        with served(data) as server, visual_memory.connect(server.address) as client:
            others.address = server.address
            again = time.perf_counter()
            done = client.wait(name)
            after = time.perf_counter() - again
            meanwhile = list(others.milliseconds)
            others.stop()
            pets, former = client.memory("pets"), client.memory("before")
            stored = {entry.id for entry in pets.entries()}
            whole = pets.check().entry_count == len(pictures) + len(others.stored)
            met = [
                done.state == "done",
                whole and others.stored <= stored,
                are_new(pets, pictures),
                former.info().embedder is not None and former.check().entry_count > 0,
                not others.errors,
            ]
    percentiles = [np.percentile(each, (50, 99, 100)) for each in (alone, meanwhile)]
    print(f"{flags.pictures} pictures: {before:.0f} s to the kill, {after:.0f} s after the restart")
    for title, (p50, p99, most) in zip(("before", "meanwhile"), percentiles, strict=True):
        print(f"Classify {title:10} p50 {p50:6.1f} ms  p99 {p99:6.1f}  slowest {most:6.0f}")
    print(
        f"{len(others.stored)} written meanwhile, errors: {others.errors or 'none'}; all of: {met}"
    )
    sys.exit(not all(met))


if __name__ == "__main__":
    main()
