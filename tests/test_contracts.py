"""Packages import only those they may, and no file names the machine it was written on."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MACHINE = re.compile(
    rb"(?<![\w./:-])/(?:home|Users|root|work|mnt|opt|private)/\w"  # somebody's folders
    rb"|[a-z]:\\\\?users\\"
    rb"|(?:extra-)?index-url|find-links|trusted-host"  # where packages come from
    rb"|\b(?:10|127|172|192)\.\d+\.\d+\.\d+:(?:8081|3128|8888)\b"
    rb"|://[\w.-]*\.(?:internal|local|lan|corp)\b",
    re.IGNORECASE,
)

PRIVATE = re.compile(r"^ *(?:from|import) (visual_memory\w*)[\w.]*\._[a-z][\w.]*", re.MULTILINE)
OWNERS = {
    "visual_memory": ("protos", "tests/client"),
    "visual_memory_benchmarks": ("benchmarks", "tests/benchmarks"),
    "visual_memory_embedders": ("embedders", "tests/embedders"),
    "visual_memory_index": ("index", "tests/index"),
    "visual_memory_service": ("service", "tests/service"),
}


def tracked() -> Iterator[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, check=False, cwd=ROOT)
    if listed.returncode:
        pytest.skip("this is not a checkout")
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            yield ROOT / name


def test_nobody_imports_what_they_may_not() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]

    checked = subprocess.run(command, capture_output=True, check=False, cwd=ROOT, text=True)

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_what_is_private_to_a_package_is_imported_by_it_and_its_tests_alone() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {hit.group()}"
        for path in tracked()
        if path.suffix == ".py"
        for hit in PRIVATE.finditer(path.read_text(encoding="utf-8"))
        if not path.is_relative_to(ROOT / OWNERS[hit[1]][0])
        and not path.is_relative_to(ROOT / OWNERS[hit[1]][1])
    ]

    assert found == []


def test_no_tracked_file_names_a_machine_or_where_it_gets_packages() -> None:
    own = Path(__file__)

    found = {
        str(path.relative_to(ROOT)): hit.group().decode()
        for path in tracked()
        if path != own and (hit := MACHINE.search(path.read_bytes()))
    }

    assert found == {}


def test_no_tracked_file_is_large() -> None:
    assert [path.name for path in tracked() if path.stat().st_size > 1 << 20] == []
