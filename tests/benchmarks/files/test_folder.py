from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.benchmarks.made import to_folder

from visual_memory_benchmarks.errors import BadFile, BadPicture
from visual_memory_benchmarks.files.folder import files_below
from visual_memory_benchmarks.stimuli import stimuli
from visual_memory_benchmarks.trials.trial_files import find

NOBODY = """
import os, pathlib, sys
from visual_memory_benchmarks.stimuli.stimuli import pictures
from visual_memory_benchmarks.trials.trial_files import find
if os.geteuid() == 0:  # to whom nothing is closed
    os.setuid(65534)
for walk in (pictures, lambda folder: find([folder])):
    try:
        print(list(walk(pathlib.Path(sys.argv[1]))))
    except Exception as error:
        print(type(error).__name__, error)
"""


def below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in files_below(folder))


def test_files_are_found_in_folders_and_through_links_and_hidden_ones_left_out(
    tmp_path: Path,
) -> None:
    to_folder(tmp_path / "set", "cat/a.png", ".cat/b.png", "cat/.c.png", "dog/deep/notes")
    to_folder(tmp_path / "elsewhere", "d.png")
    (tmp_path / "set/bear").symlink_to("../elsewhere")

    assert below(tmp_path / "set") == ["bear/d.png", "cat/a.png", "dog/deep/notes"]


def test_a_link_to_a_folder_that_it_lies_in_is_not_followed(tmp_path: Path) -> None:
    to_folder(tmp_path, "set/cat/a.png", "other/b.png")
    (tmp_path / "set/cat/loop").symlink_to("..")
    (tmp_path / "set/other").symlink_to("../other")
    (tmp_path / "other/back").symlink_to("../set")

    assert below(tmp_path / "set") == ["cat/a.png", "other/b.png"]


def test_a_folder_that_links_lead_to_twice_is_refused(tmp_path: Path) -> None:
    names = [f"{number}" for number in range(20)]
    to_folder(tmp_path, *(f"{name}/a.png" for name in names))
    for name in names:
        for other in set(names) - {name}:
            (tmp_path / name / f"to {other}").symlink_to(f"../{other}")

    with pytest.raises(BadFile, match=r"is the same folder as .*; remove one of them"):
        below(tmp_path)


def test_a_link_to_nothing_may_have_been_a_folder_and_is_refused(tmp_path: Path) -> None:
    to_folder(tmp_path, "cat/a.png")
    (tmp_path / "dog").symlink_to("moved")

    with pytest.raises(BadFile, match=r"/dog: cannot be read \(No such file"):
        below(tmp_path)


def test_a_link_to_nothing_with_a_suffix_was_a_file_and_is_refused_once_it_is_read(
    tmp_path: Path,
) -> None:
    to_folder(tmp_path, "cat/a.png", "edge/a.csv")
    (tmp_path / "cat/notes.txt").symlink_to("nowhere")

    assert below(tmp_path) == ["cat/a.png", "cat/notes.txt", "edge/a.csv"]
    assert [each.file for each in stimuli.load("pets", tmp_path).stimuli] == ["cat/a.png"]
    (tmp_path / "cat/b.png").symlink_to("nowhere")
    (tmp_path / "edge/b.csv").symlink_to("nowhere/b.csv")
    with pytest.raises(BadPicture, match=r"cat/b\.png cannot be read \(No such file"):
        stimuli.load("pets", tmp_path)
    with pytest.raises(BadFile, match=r"edge/b\.csv: cannot be read \(No such file"):
        find([tmp_path])


@pytest.mark.parametrize("mode", [0o000, 0o400])
def test_a_folder_that_is_closed_is_refused_by_name(mode: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = to_folder(Path(name), "edge/a.png", "edge/a.csv", "sketch/b.png", "sketch/b.csv")
        folder.chmod(0o755)
        (folder / "sketch").chmod(mode)

        command = [sys.executable, "-c", NOBODY, name]
        printed = subprocess.run(command, check=True, capture_output=True, cwd=name, text=True)
        (folder / "sketch").chmod(0o700)

    lines = printed.stdout.splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"BadFile {name}/sketch") for line in lines)
    assert all("Permission denied" in line for line in lines)
