"""Fuzz what reads bytes of strangers: filters, pictures, Parquet, certificates, backups, bodies.

Without a target it runs all of them, one after another, for ``--seconds`` together. An input that
ends in another error than the documented one, takes longer than 30 s, or ends the process is a
finding, and stays in the folder of its target as ``crash-...`` or ``timeout-...``. Run it by
``make fuzz``.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import atheris

os.environ["NUMBA_DISABLE_JIT"] = "1"  # it does not know what atheris writes into functions
READERS = (
    "visual_memory.proofs",
    "visual_memory_index.records",
    "visual_memory_service.http",
    "PIL",
)
with atheris.instrument_imports(include=list(READERS)):
    import numpy as np
    from PIL import Image

    import visual_memory_index as index
    from visual_memory.errors import InvalidCertificate
    from visual_memory.proofs.certificate import Certificate
    from visual_memory.terminal.refused import Refused
    from visual_memory.v1 import service_pb2 as pb
    from visual_memory_embedders.images.images import BadImage, ImageLimits, decode
    from visual_memory_index.catalog.catalog import Catalog
    from visual_memory_index.errors import BadFilter, MemoryRefusal
    from visual_memory_index.records.filter import parse
    from visual_memory_service.errors import BadField
    from visual_memory_service.http.bodies import parts
    from visual_memory_service.http.documents import parsed, to_message
    from visual_memory_service.pictures.parquet import File

Target = Callable[[bytes], None]
Seeds = Iterator[bytes]
LIMITS = ImageLimits(pixels_max=1_000_000)
DIMENSION = 4
ROWS = np.eye(DIMENSION, dtype=np.float32)
SECONDS_MAX, RSS_MEGABYTES = 30, 4096


def text_filter(data: bytes) -> None:
    with suppress(BadFilter):
        parse(data.decode(errors="surrogateescape"))


def filters() -> Seeds:
    yield b'label = "cat" AND NOT (metadata.source : "web" OR id >= "a")'
    yield b'create_time > "2026-01-01T00:00:00Z" AND label != "d*g"'


def picture(data: bytes) -> None:
    with suppress(BadImage):
        decode(data, limits=LIMITS)


def pictures() -> Seeds:
    for kind in ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"):
        file = io.BytesIO()
        Image.effect_noise((24, 16), 60).convert("RGB").save(file, kind)
        yield file.getvalue()


def certificate(data: bytes) -> None:
    with suppress(InvalidCertificate):
        Certificate.read(data)


def certificates() -> Seeds:
    path = Path(__file__).resolve().parents[1] / "tests/client/data/certificate-1.json"
    yield path.read_bytes()


def table(data: bytes) -> None:
    with tempfile.NamedTemporaryFile(suffix=".parquet") as file, suppress(Refused):
        file.write(data)
        file.flush()
        for _ in File(Path(file.name), DIMENSION, kept=True).items():
            pass


def tables() -> Seeds:
    import pyarrow as pa
    import pyarrow.parquet

    columns = {"id": list("abcd"), "label": list("xyxy"), "vector": ROWS.tolist()}
    file = io.BytesIO()
    pyarrow.parquet.write_table(pa.table(columns), file)
    yield file.getvalue()


def body(data: bytes) -> None:
    with suppress(BadField):
        to_message(parsed(data), pb.ClassifyRequest)
    with suppress(BadField):
        to_message(parsed(data), pb.EntryBatch)
    with suppress(BadField):
        parts(data, "multipart/form-data; boundary=edge")


def bodies() -> Seeds:
    yield b'{"vectors":[[1,2.5,-3e8]],"k":5,"excludeIds":["a"],"domainMean":[0.5]}'
    yield b'{"entries":[{"id":"a","label":"x","metadata":{"b":"c"}}],"images":["AAAA"]}'
    yield b'--edge\r\nContent-Disposition: form-data; name="image"\r\n\r\nx\r\n--edge--\r\n'


@contextmanager
def catalog() -> Iterator[Catalog]:
    """Context manager: a new data folder."""
    with tempfile.TemporaryDirectory() as folder:
        opened = Catalog(Path(folder) / "data")
        try:
            yield opened
        finally:
            opened.close()


def backups() -> Seeds:
    with catalog() as made:
        memory = made.create("pets", dimension=DIMENSION, embedder=None)
        assert memory is not None
        entries = [index.Entry(id, "x") for id in "abcd"]
        memory.insert(entries, ROWS)
        with made.backup(memory, check=lambda: None, settings=()) as file:
            yield file.read()


def backup() -> Target:
    opened = catalog().__enter__()  # for the whole run

    def restore(data: bytes) -> None:
        with suppress(MemoryRefusal), opened.arrival() as arrival:
            arrival.write(data)
            arrival.finish()
            with opened.rebuilt(arrival, "other", settings=(), check=lambda: None):
                pass

    return restore


TARGETS: dict[str, tuple[Callable[[], Target], Callable[[], Seeds]]] = {
    "filter": (lambda: text_filter, filters),
    "picture": (lambda: picture, pictures),
    "certificate": (lambda: certificate, certificates),
    "parquet": (lambda: table, tables),
    "body": (lambda: body, bodies),
    "backup": (backup, backups),
}


def fuzz(name: str, seconds: int, work: Path) -> None:
    """Fuzz one target in this process, which ends with it."""
    make, seeds = TARGETS[name]
    corpus = work / name
    corpus.mkdir(parents=True, exist_ok=True)
    for at, seed in enumerate(seeds()):
        (corpus / f"seed-{at}").write_bytes(seed)
    target: Any = make()
    options = [
        f"-max_total_time={seconds}",
        f"-timeout={SECONDS_MAX}",
        f"-rss_limit_mb={RSS_MEGABYTES}",
        f"-artifact_prefix={corpus}/",
        "-print_final_stats=1",
        "-verbosity=0",
        "-max_len=65536",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], target)
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", nargs="?", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    if options.target:
        fuzz(options.target, options.seconds, options.work)
    each = max(1, options.seconds // len(TARGETS))
    failed = []
    for name in TARGETS:
        print(f"{name}: {each} s", flush=True)
        command = [sys.executable, __file__, name, "--seconds", str(each)]
        if subprocess.run([*command, "--work", str(options.work)]).returncode:
            failed.append(name)
    print(f"findings: {', '.join(failed) or 'none'}")
    return bool(failed)


if __name__ == "__main__":
    raise SystemExit(main())
