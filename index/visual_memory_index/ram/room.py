"""Room in RAM: what Linux says of the system and of the control groups of this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from visual_memory_index.errors import TooLittleRam

MEMINFO, OWN_GROUPS = Path("/proc/meminfo"), Path("/proc/self/cgroup")
# For the controllers of a line of OWN_GROUPS, where the files of such groups are, and how they call
# the limit, what is in use, and of this the part in page caches that the system takes back.
GROUPS = {
    "": (Path("/sys/fs/cgroup"), "memory.max", "memory.current", "inactive_file"),
    "memory": (
        Path("/sys/fs/cgroup/memory"),
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    ),
}


def check_room(wanted: int, work: str, way_out: str) -> None:
    """Check that RAM has room for ``wanted`` bytes of vectors. Raises TooLittleRam.

    A system that does not say how much is available, as Linux does, is taken to have enough. The
    error names the ``work`` and a ``way_out``.
    """
    available = min((*in_system(), *in_groups()), default=wanted)
    if available < wanted:
        raise TooLittleRam(work, wanted, max(0, available), way_out)


def in_system() -> Iterator[int]:
    """Yield the bytes that the system has available, if it says so."""
    with suppress(OSError):
        words = MEMINFO.read_text().partition("MemAvailable:")[2].split()
        yield from (1024 * int(word) for word in words[:1])


def in_groups() -> Iterator[int]:
    """Yield the bytes that each control group with a limit leaves, from the process's own up."""
    for group, (limit, used, cached) in own_groups():
        with suppress(OSError):  # the root has no limit
            yield from left_in(group / limit, group / used, group / "memory.stat", cached)


def own_groups() -> Iterator[tuple[Path, Sequence[str]]]:
    """Yield the folder of each control group of this process, and the names in it; see GROUPS."""
    lines = OWN_GROUPS.read_text().splitlines() if OWN_GROUPS.exists() else []
    for _, controllers, path in (line.split(":", 2) for line in lines):
        if controllers in GROUPS:
            root, *names = GROUPS[controllers]
            own = root / path.lstrip("/")
            yield from ((each, names) for each in (own, *own.parents) if each.is_relative_to(root))


def left_in(limit: Path, used: Path, stat: Path, cached: str) -> Iterator[int]:
    """Yield the bytes that one group leaves, if it has a limit. Raises OSError."""
    if (most := limit.read_text().strip()) != "max":
        counts = dict(line.split() for line in stat.read_text().splitlines())
        yield int(most) - int(used.read_text()) + int(counts[cached])
