"""Work is refused that RAM has no room for, in the system or in a control group."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from visual_memory_index.errors import TooLittleRam
from visual_memory_index.ram import room
from visual_memory_index.ram.room import check_room


@pytest.fixture(autouse=True)
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for what a system says, which says nothing yet."""
    monkeypatch.setattr(room, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(room, "OWN_GROUPS", tmp_path / "own")
    groups = {
        kind: (tmp_path / kind / "groups", *names) for kind, (_, *names) in room.GROUPS.items()
    }
    monkeypatch.setattr(room, "GROUPS", groups)
    return tmp_path


def write(folder: Path, files: Mapping[str, object]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(f"{text}\n")


def test_a_system_that_says_nothing_has_enough() -> None:
    check_room(10**13, "Such work", "do less")


def test_what_the_system_has_available_is_enough_to_the_byte(system: Path) -> None:
    (system / "meminfo").write_text("MemTotal:  9 kB\nMemAvailable:   3750000 kB\nBuffers: 1 kB")
    check_room(3_840_000_000, "Such work", "do less")

    says = r"Such work needs vectors in RAM, 3\.8 GB, and 3\.8 GB are available: do less\."
    with pytest.raises(TooLittleRam, match=says):
        check_room(3_840_000_001, "Such work", "do less")


@pytest.mark.parametrize("limited", ["shop/memory", "shop", ""])
def test_a_control_group_or_one_above_it_may_leave_less(system: Path, limited: str) -> None:
    (system / "meminfo").write_text("MemAvailable: 9000000 kB")
    write(system, {"own": "1:cpu:/elsewhere\n0::/shop/memory"})
    for group in ("shop/memory", "shop"):
        write(system / "groups" / group, {"memory.max": "max", "memory.current": 5})
    stat = "anon 600\nfile 400\ninactive_file 100\nactive_file 150\nslab_reclaimable 50"
    write(
        system / "groups" / limited,
        {"memory.max": 1000, "memory.current": 900, "memory.stat": stat},
    )

    check_room(400, "Such work", "do less")
    with pytest.raises(TooLittleRam):
        check_room(401, "Such work", "do less")


def test_a_control_group_of_the_first_version_may_leave_less(system: Path) -> None:
    write(system, {"own": "4:memory:/shop\n1:name=systemd:/shop\n0::/"})
    counts = {"memory.limit_in_bytes": 1000, "memory.usage_in_bytes": 1100}
    stat = "inactive_file 1\ntotal_inactive_file 150\ntotal_active_file 50"
    write(system / "memory" / "groups" / "shop", {**counts, "memory.stat": stat})

    check_room(100, "Such work", "do less")
    with pytest.raises(TooLittleRam, match=r"0\.0 GB are available"):
        check_room(101, "Such work", "do less")


def test_a_control_group_that_does_not_say_what_can_be_taken_back_is_taken_as_full(
    system: Path,
) -> None:
    write(system, {"own": "0::/"})
    group = {"memory.max": 1000, "memory.current": 900, "memory.stat": "anon 900"}
    write(system / "groups", group)

    check_room(100, "Such work", "do less")
    with pytest.raises(TooLittleRam):
        check_room(101, "Such work", "do less")
