"""System calls of a server that fail on command, and its clock: the Python side of ``faults.c``.

strace could inject faults too, but counts calls by thread, and a server has many. Here the calls
of all threads count, so one server can be led through every call of every write, one by one.
"""

from __future__ import annotations

import errno
import mmap
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pytest
from tests.durability.power_loss.recording import need

SOURCE = Path(__file__).with_name("faults.c")
CONTROL = struct.Struct("<qiiiiii32s4096s")
ONCE, SHORT, FROM_THEN_ON, SWALLOW = range(4)
CALLS = MappingProxyType(
    {
        "write": 1,
        "fsync": 2,
        "ftruncate": 4,
        "create": 8,
        "unlink": 16,
        "rename": 32,
        "mkdir": 64,
    }
)


@dataclass(frozen=True, slots=True)
class Fault:
    """A way for system calls to fail; ``calls`` is the sum of the ``CALLS`` that it applies to."""

    name: str
    mode: int
    error: int = 0
    calls: int = sum(CALLS.values())


FAULTS = (
    Fault("ENOSPC", ONCE, errno.ENOSPC),
    Fault("EIO", ONCE, errno.EIO),
    Fault("short write", SHORT, calls=CALLS["write"]),
    Fault("ENOSPC from then on", FROM_THEN_ON, errno.ENOSPC),
    Fault("EIO from then on", FROM_THEN_ON, errno.EIO),
)


def build_library(folder: Path) -> Path:
    """Compile ``faults.c``."""
    need("cc")
    library = folder / "faults.so"
    build = ["cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(SOURCE)]
    subprocess.run(build, check=True)
    return library


class Faults:
    """The faults of one folder, for servers that are started under ``preloaded``."""

    def __init__(self, library: Path, control: Path, folder: Path) -> None:
        self._library, self._path, self._folder = library, control, folder
        self._path.write_bytes(bytes(CONTROL.size))
        with self._path.open("r+b") as file:
            self._control = mmap.mmap(file.fileno(), CONTROL.size)
        self._clock = 0

    def close(self) -> None:
        self._control.close()

    @contextmanager
    def preloaded(self) -> Iterator[None]:
        """Context manager: processes started in the block are subject to the faults."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LD_PRELOAD", str(self._library))
            patch.setenv("FAULTS_CONTROL", str(self._path))
            patch.setenv("FAULTS_FOLDER", str(self._folder))
            yield

    def arm(self, fault: Fault, number: int, suffix: str = "") -> None:
        """Let the ``number``-th call from now, from 1, on a path with this suffix fail."""
        self._set(0, fault.mode, fault.error, number, suffix)
        self._set(fault.calls, fault.mode, fault.error, number, suffix)

    def left(self) -> int:
        """Return the number of calls until the one that fails."""
        return int(CONTROL.unpack_from(self._control)[4])

    def suffered(self) -> str:
        """Describe the call that failed last and the kind of its file; empty if none failed."""
        *_, fired, call, _, path = CONTROL.unpack_from(self._control)
        if not fired:
            return ""
        name = Path(path.partition(b"\0")[0].decode()).name
        (kind,) = [kind for kind, number in CALLS.items() if number == call]
        return f"{kind} of {name[name.find('.sqlite') :] if '.sqlite' in name else name}"

    def disarm(self) -> bool:
        """Let all calls succeed again; return True if one failed."""
        suffered = bool(self.suffered())
        self._set(0, 0, 0, 0, "")
        return suffered

    def jump(self, seconds: float) -> None:
        """Set the server's clock ``seconds`` ahead of the right time."""
        self._clock = int(seconds * 1e9)
        struct.pack_into("<q", self._control, 0, self._clock)

    def _set(self, calls: int, mode: int, error: int, number: int, suffix: str) -> None:
        fields = (self._clock, calls, mode, error, number, 0, 0, suffix.encode(), b"")
        CONTROL.pack_into(self._control, 0, *fields)
