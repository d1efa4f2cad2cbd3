"""A file cache for graphs that take long to write."""

import hashlib
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def cached_graph(path: Path, make: Callable[[], bytes]) -> bytes:
    """Return the bytes in ``path`` if they match the hash beside it, or else make and cache them.

    Safe with other processes: files appear whole, and a mixed pair is written anew. If nothing can
    be read or written, the bytes are made each time.
    """
    digest_path = path.with_name(f"{path.name}.sha256")
    try:
        graph, digest = path.read_bytes(), digest_path.read_bytes()
    except OSError:
        graph, digest = b"", b""
    if _sha256(graph) != digest:
        graph = make()
        with suppress(OSError):  # a folder that is full or read-only costs time, and no call
            path.parent.mkdir(parents=True, exist_ok=True)
            _replace(path, graph)
            _replace(digest_path, _sha256(graph))
    return graph


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest().encode()


def _replace(path: Path, data: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        try:
            file.write(data)
            file.flush()
            os.replace(file.name, path)
        except OSError:
            os.unlink(file.name)
            raise
