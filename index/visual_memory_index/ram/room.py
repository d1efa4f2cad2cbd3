"""Room in RAM: what Linux says of the system and of the control groups of this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from visual_memory_index.errors import TooLittleRam

MEMINFO, OWN_GROUPS = Path("/proc/meminfo"), Path("/proc/self/cgroup")
# For the controllers of a line of OWN_GROUPS, where the files of such groups are, and how they call
# the limit, and what is in use.
GROUPS = {
    "": (Path("/sys/fs/cgroup"), "memory.max", "memory.current"),
    "memory": (
        Path("/sys/fs/cgroup/memory"),
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
    ),
}
TAKEN_BACK = "inactive_file", "active_file", "slab_reclaimable"


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
    for group, limit, used in own_groups():
        with suppress(OSError):  # the root has no limit
            if (most := (group / limit).read_text().strip()) != "max":
                cached = taken_back((group / "memory.stat").read_text())
                yield int(most) - int((group / used).read_text()) + cached


def own_groups() -> Iterator[tuple[Path, str, str]]:
    """Yield the folder of each control group of this process, and the names in it; see GROUPS."""
    lines = OWN_GROUPS.read_text().splitlines() if OWN_GROUPS.exists() else []
    for _, controllers, path in (line.split(":", 2) for line in lines):
        if controllers in GROUPS:
            root, limit, used = GROUPS[controllers]
            own = root / path.lstrip("/")
            for each in (own, *own.parents):
                if each.is_relative_to(root):
                    yield each, limit, used


def taken_back(counts: str) -> int:
    """Return the bytes in use that the system takes back where RAM is short: files and the like.

    ``counts`` are the lines of a memory.stat; the first version has those of the groups below as
    well, under names that begin with "total_".
    """
    found = {name: int(count) for name, count in map(str.split, counts.splitlines())}
    whole = "total_" if any(name.startswith("total_") for name in found) else ""
    return sum(found.get(f"{whole}{name}", 0) for name in TAKEN_BACK)
