from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from tests.benchmarks.made import to_folder

from visual_memory_benchmarks.errors import BadFile, BadPicture, MissingData
from visual_memory_benchmarks.stimuli import stimuli


def test_a_folder_for_each_category_is_a_set_in_the_order_of_paths(tmp_path: Path) -> None:
    folder = to_folder(tmp_path, "dog/b.png", "cat/deep/a.JPG", "cat/notes.txt", "cat/.hidden.png")

    found = stimuli.load("pets", folder)

    assert [(each.file, each.category) for each in found.stimuli] == [
        ("cat/deep/a.JPG", "cat"),
        ("dog/b.png", "dog"),
    ]
    assert found.stimuli[1].sha256 == hashlib.sha256(b"dog/b.png").hexdigest()
    assert found.categories == ("cat", "dog")
    assert found.path(found.stimuli[1]).read_bytes() == b"dog/b.png"


def test_the_fingerprint_of_a_set_knows_its_files_by_name_and_content(tmp_path: Path) -> None:
    one = stimuli.load("pets", to_folder(tmp_path / "one", "cat/a.png", "dog/b.png"))
    same = stimuli.load("pets", to_folder(tmp_path / "same", "dog/b.png", "cat/a.png"))
    (tmp_path / "same/cat/a.png").write_bytes(b"other")
    other = stimuli.load("pets", tmp_path / "same")

    assert one.sha256 == same.sha256
    assert one.sha256 != other.sha256
    assert one.where(lambda each: each.category == "cat").sha256 not in (one.sha256, other.sha256)
    assert one.where(lambda each: True) is one


def test_a_manifest_says_what_is_in_the_set_and_more_about_it(tmp_path: Path) -> None:
    to_folder(tmp_path, "a.png", "not-listed.png")
    manifest = "file,sha256,shape_category,texture_category\na.png,0f,cat,dog\n"
    (tmp_path / "manifest.csv").write_text(manifest, encoding="utf-8")

    found = stimuli.load("pets", tmp_path)

    (only,) = found.stimuli
    assert (only.file, only.category, only.sha256) == ("a.png", "cat", "0f")
    assert dict(only.attributes) == {"texture_category": "dog"}
    assert found.sha256 == hashlib.sha256(manifest.encode()).hexdigest()


@pytest.mark.parametrize(
    ("manifest", "sentence"),
    [
        ("file,sha256\na.png,0f\n", "category or shape_category"),
        ("file,sha256,category\na.png,0f\n", "line 2 is not complete"),
        ("file,sha256,category\n", "lists no picture"),
        ("file,sha256,category\nb.png,0f,cat\n", r"lists b\.png, which is not in"),
    ],
)
def test_a_bad_manifest_is_refused(manifest: str, sentence: str, tmp_path: Path) -> None:
    to_folder(tmp_path, "a.png")
    (tmp_path / "manifest.csv").write_text(manifest, encoding="utf-8")

    with pytest.raises((BadFile, MissingData), match=sentence):
        stimuli.load("pets", tmp_path)


@pytest.mark.parametrize("row", ["é.png,0f,cat".encode("latin-1"), b"x" * 140_000 + b",0f,cat"])
def test_a_manifest_that_is_no_csv_in_utf8_is_refused(row: bytes, tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_bytes(b"file,sha256,category\n" + row + b"\n")

    with pytest.raises(BadFile, match=r"manifest\.csv: cannot be read \("):
        stimuli.load("pets", tmp_path)


def test_a_set_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        MissingData, match=r"set pets cannot be used: there is no folder .*none\. .* --data"
    ):
        stimuli.load("pets", tmp_path / "none")
    with pytest.raises(MissingData, match="no pictures"):
        stimuli.load("pets", tmp_path)


def test_a_picture_outside_of_any_category_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match=r"loose\.png lies directly in"):
        stimuli.load("pets", to_folder(tmp_path, "loose.png", "cat/a.png"))


def test_a_picture_that_changed_since_is_not_read(tmp_path: Path) -> None:
    found = stimuli.load("pets", to_folder(tmp_path, "cat/a.png", "cat/b.png"))
    (tmp_path / "cat/b.png").write_bytes(b"changed")

    assert found.read(found.stimuli[0]) == b"cat/a.png"
    with pytest.raises(BadPicture, match=r"cat/b\.png is not the picture that it was"):
        found.read(found.stimuli[1])


@pytest.mark.parametrize(
    ("name", "count"), [("cue_conflict", 1280), ("edges", 160), ("natural16", 828)]
)
def test_the_shared_sets_are_what_their_manifests_say(name: str, count: int, shared: Path) -> None:
    found = stimuli.load(name, shared / "data" / name)

    assert len(found.stimuli) == count
    assert len(found.categories) == 16
    assert found.read(found.stimuli[0])
