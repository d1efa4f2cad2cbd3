"""Write a memory and a catalog of the newest schema into this folder, for later releases to open.

Run at a release, and when a step is added to ``MEMORY_STEPS`` or ``CATALOG_STEPS``. A file that a
release wrote is never written again.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np

from visual_memory_index import Catalog, Entry, Memory, Request
from visual_memory_index.files.migrations import CATALOG_STEPS, MEMORY_STEPS
from visual_memory_index.store.store import new_identity

FILE = Path(__file__).with_name(f"memory-schema-{len(MEMORY_STEPS)}.sqlite")
CATALOG = Path(__file__).with_name(f"catalog-schema-{len(CATALOG_STEPS)}.sqlite")
VECTORS = np.array([[1, 0, 0, 0], [0, 0, 0.6, 0.8], [0, 0, 0, 1]], np.float32)
ENTRIES = (
    Entry(
        "a",
        "crow",
        metadata={"source": "web"},
        content_sha256=bytes(range(32)),
        image=b"image of a",
        thumbnail=b"small a",
    ),
    Entry("b", "Häher"),
    Entry("c", "crow"),
)


def changed(ids: list[str]) -> str:
    return json.dumps({"ids": ids})


def write(path: Path) -> None:
    """Write a small memory: three entries, one pruned, one relabelled; an answer; lists kept."""
    identity = new_identity("birds", 4, '{"name": "fake"}', store_images=True)
    with closing(Memory.create(path, identity)) as memory:
        memory.insert(ENTRIES, VECTORS, request=Request("first", b"fingerprint"))
        prune = memory.operations.begin("prune").operation.name
        memory.operations.prune(["b"], operation=prune, result=changed)
        memory.operations.relabel({"c": "owl"}, result=changed)
        memory.misleading_counts(1)
    shrink(path)


def write_catalog(path: Path) -> None:
    """Write a catalog: two memories, one dropped, backups, unlearned ids; beside it its secret."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with closing(Catalog(folder)) as catalog:
            for bird, request in (("birds", "made"), ("bees", "made too")):
                made = catalog.create(
                    bird, dimension=4, embedder=None, request=Request(request, b"fingerprint")
                )
                assert made is not None
                with closing(made):
                    catalog.mark_unlearned(made, ["gone"], "")
                    catalog.backup(made, settings=(), check=lambda: None).close()
            catalog.drop("bees", request=Request("dropped", b"fingerprint"))
        shrink(folder / "catalog.sqlite")
        shutil.copy(folder / "catalog.sqlite", path)
        shutil.copy(folder / "keys" / "tombstones.key", path.with_suffix(".key"))


def shrink(path: Path) -> None:
    """Rewrite an SQLite file with small pages and without a log."""
    with closing(sqlite3.connect(path)) as db:
        for line in ("journal_mode = DELETE", "page_size = 512"):
            db.execute(f"PRAGMA {line}")
        db.execute("VACUUM")


if __name__ == "__main__":
    for file, writing in ((FILE, write), (CATALOG, write_catalog)):
        if not file.exists():
            writing(file)
            print(file.name)
