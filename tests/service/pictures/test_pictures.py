"""Files that count as pictures, their labels, and pictures that do not decode."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from visual_memory.terminal.refused import Refused
from visual_memory.types import Limits
from visual_memory_service.pictures.pictures import (
    PictureFiles,
    alike,
    faults,
    find_files,
    flaw,
    labelled,
)

LIMITS = Limits(message_bytes=1 << 20, image_bytes=10_000, image_pixels=10_000, items=100)


HARDLY = (
    "Labels that differ only by blanks, by case or by how Unicode writes their letters are "
    "different labels"
)


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def test_the_label_is_the_first_folder_and_the_id_the_path(tmp_path: Path) -> None:
    put(tmp_path, "b/deep/er/1.JPG", "b/a.webp", "a/ü.tiff", "a/x.txt", ".git/1.png", "a/.1.png")

    found, _ = labelled(tmp_path)

    assert [(picture.id, picture.label) for picture in found] == [
        ("a/ü.tiff", "a"),
        ("b/a.webp", "b"),
        ("b/deep/er/1.JPG", "b"),
    ]


def test_other_files_are_counted_by_their_ends(tmp_path: Path) -> None:
    names = ("cat/a.JPG", "cat/b.heic", "dog/c.heic", "dog/notes", "dog/.hidden", "list.txt")
    put(tmp_path, *names)

    files = PictureFiles()
    files.walk(tmp_path)

    assert files.others == {".heic": 2, "": 1, ".txt": 1}
    assert [path.name for path in files.pictures] == ["a.JPG"]


def test_heic_pictures_are_told_how_to_be_read_and_a_class_of_them_alone_is_bad(
    tmp_path: Path,
) -> None:
    put(tmp_path, "cat/a.jpg", "cat/b.heic", "dog/c.HEIF", "dog/d.heic", "fox/notes.txt")

    found, files = labelled(tmp_path)

    assert [picture.id for picture in found] == ["cat/a.jpg"]
    assert files.bad == {
        tmp_path / "dog": "has HEIC pictures alone. HEIC is not read: save such pictures as JPEG "
        "first"
    }
    assert files.remarks == [
        "HEIC is not read: save such pictures as JPEG first, such as with: magick mogrify -format "
        "jpg *.heic",
        "No pictures are in fox.",
    ]


def test_a_folder_of_heic_pictures_alone_is_told_so(tmp_path: Path) -> None:
    put(tmp_path, "c.heic")

    with pytest.raises(Refused, match=r"no pictures in .* HEIC is not read"):
        labelled(tmp_path)


def test_each_folder_is_read_once_however_links_cross(tmp_path: Path) -> None:
    for name in "abcdefg":
        put(tmp_path, f"all/{name}/1.png")
        for other in "abcdefg".replace(name, ""):
            (tmp_path / "all" / name / f"to-{other}").symlink_to(tmp_path / "all" / other)

    found, files = labelled(tmp_path / "all")

    assert [picture.id for picture in found] == [f"{name}/1.png" for name in "abcdefg"]
    assert [remark[:31] for remark in files.remarks] == ["Read already by another path: /"]


def test_a_chain_of_doubled_links_is_walked_link_by_link(tmp_path: Path) -> None:
    folders = [tmp_path / "all" / "a", *(tmp_path / f"{number:02}" for number in range(25))]
    for here, there in pairwise(folders):
        here.mkdir(parents=True)
        for name in "xy":
            (here / name).symlink_to(there)
    put(folders[-1], "1.png")

    found, files = labelled(tmp_path / "all")

    assert [picture.id for picture in found] == [f"a/{'x/' * 25}1.png"]
    assert len(files.folders) == 27


def test_a_folder_elsewhere_is_read_by_the_link_that_is_a_label(tmp_path: Path) -> None:
    put(tmp_path, "elsewhere/1.png", "all/a/2.png")
    (tmp_path / "all" / "a" / "deep").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "all" / "fox").symlink_to(tmp_path / "elsewhere")

    found, _ = labelled(tmp_path / "all")

    assert [picture.id for picture in found] == ["a/2.png", "fox/1.png"]


def test_a_link_to_a_folder_is_followed_and_one_to_above_is_not(tmp_path: Path) -> None:
    put(tmp_path, "elsewhere/1.png", "all/a/2.png")
    (tmp_path / "all" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "all" / "a" / "loop").symlink_to(tmp_path / "all")

    found, files = labelled(tmp_path / "all")

    assert [picture.id for picture in found] == ["a/2.png", "b/1.png"]
    assert len(files.remarks) == 2


def test_pictures_in_folders_inside_that_of_a_label_are_remarked(tmp_path: Path) -> None:
    names = [f"tv/train/cat/{number}.png" for number in range(2)]
    put(tmp_path, *names, "tv/test/dog/a/b/1.png", "tv/bird/1.png")

    _, files = labelled(tmp_path / "tv")

    tv = tmp_path / "tv"
    assert files.remarks == [
        f"Labels are the names of the folders in {tv}, also for pictures in folders inside these: "
        f"test (1), train (2). Where the inner folders are the labels, give {tv}/test, {tv}/train "
        "instead."
    ]


def test_labels_that_hardly_differ_are_remarked() -> None:
    new, known = ["cat", " cat", "dog", "Bird"], ["CAT  ", "bird", "Dog house", "owl", "Owl"]

    assert alike(new, known) == [
        f"{HARDLY}: Bird, bird.",
        f'{HARDLY}: " cat", "CAT  ", cat.',
    ]


def test_labels_that_only_unicode_tells_apart_are_remarked_and_shown_apart() -> None:
    new, known = ["sch\u00f6n", "\ufb01sh", "Stra\u00dfe"], ["scho\u0308n", "fish", "STRASSE"]

    assert alike(new, known) == [
        f"{HARDLY}: fish, \ufb01sh.",
        f"{HARDLY}: scho\\u0308n, sch\u00f6n.",
        f"{HARDLY}: STRASSE, Stra\u00dfe.",
    ]


def test_a_name_that_is_not_utf_8_cannot_be_used(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png")
    os.rename(tmp_path / "a/1.png", os.fsencode(tmp_path) + b"/a/\xff.png")

    found, files = labelled(tmp_path)

    assert found == []
    assert list(files.bad.values()) == ["has a name that is not UTF-8; rename it"]


def test_a_path_of_another_system_or_of_a_folder_says_so(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png")

    assert flaw(tmp_path / "a\\1.png") == "is not there; write paths with slashes, not backslashes"
    assert flaw(tmp_path / "b.png") == "is not there"
    assert flaw(tmp_path / "a") == "is a folder"


def test_a_folder_with_loose_pictures_alone_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "1.png")

    with pytest.raises(Refused, match=r"lie directly in .*: 1\.png"):
        labelled(tmp_path)


def test_named_files_may_end_as_they_like_and_folders_are_searched(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", "a/b/2.png", "picture")

    found = find_files([tmp_path / "picture", tmp_path / "a"])

    assert found.pictures == [tmp_path / "picture", tmp_path / "a/1.png", tmp_path / "a/b/2.png"]


def encoded(mode: str, size: tuple[int, int], kind: str) -> bytes:
    buffer = BytesIO()
    Image.new(mode, size).save(buffer, kind)
    return buffer.getvalue()


def test_faults_are_what_the_server_would_say() -> None:
    good = encoded("RGB", (20, 20), "PNG")
    contents = [good, b"", good[:45], bytes(10_001), encoded("1", (200, 200), "PNG")]
    contents += [encoded("F", (9, 9), "TIFF"), encoded("RGB", (9, 9), "PPM")]
    contents += [b"\0\0\0\x18ftypheic" + bytes(99)]

    found = faults(contents, LIMITS)

    assert found[0] is None
    phrases = (
        "not a whole",
        "damaged",
        "10,001 bytes",
        "200 × 200",
        "32 bits",
        "not a whole",
        "HEIC",
    )
    for phrase, fault in zip(phrases, found[1:], strict=True):
        assert phrase in str(fault)


NOBODY = """
import json, os, pathlib, sys
from visual_memory_service.pictures.pictures import labelled
if os.geteuid() == 0:  # to whom nothing is closed
    os.setuid(65534)
found, look = labelled(pathlib.Path(sys.argv[1]))
print(json.dumps([[picture.id for picture in found], list(look.bad.values())]))
"""


@pytest.mark.parametrize("mode", [0o000, 0o400])
def test_a_folder_that_is_closed_is_named(mode: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        put(folder, "a/1.png", "b/2.png")
        (folder / "b").chmod(mode)

        command = [sys.executable, "-c", NOBODY, name]
        printed = subprocess.run(command, check=True, capture_output=True, cwd=name, text=True)
        (folder / "b").chmod(0o700)

    found, (why,) = json.loads(printed.stdout)
    assert found == ["a/1.png"]
    assert why.endswith("Permission denied")


def test_a_file_of_any_name_is_nothing_where_a_folder_is_wanted(tmp_path: Path) -> None:
    put(tmp_path, "a.png")

    with pytest.raises(Refused, match="There is no folder"):
        labelled(tmp_path / "a.png")
