"""``insert`` against a real server: input it takes, input it skips, and how it resumes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image, features
from tests.conftest import to_picture
from tests.service.conftest import Run, answer, refused, text
from tests.service.slow import write_network

import visual_memory
from visual_memory.terminal.progress import Progress
from visual_memory.terminal.refused import Refused
from visual_memory_service.commands.insert import Plan, compare, store
from visual_memory_service.pictures import bad_pictures
from visual_memory_service.pictures.source import open_source

if TYPE_CHECKING:
    from tests.conftest import Server, Start

COUNT = int(os.environ.get("INSERTED_PICTURES", "60"))
PER_SECOND = float(os.environ.get("PICTURES_PER_SECOND", "40"))
TIMEOUT = os.environ.get("INSERT_TIMEOUT", "60")  # less than 1,024 pictures take, for a large run


@pytest.fixture(scope="module")
def server(server_of_files: Server) -> Server:
    return server_of_files


@pytest.fixture
def pets(server: Server) -> Iterator[str]:
    """The name of a memory for pictures."""
    with visual_memory.connect(server.address) as client:
        yield client.create_memory(f"memory-{uuid4().hex}").name


@pytest.fixture
def labels(run: Run, pets: str) -> Callable[[], dict[str, str]]:
    """Return a function that maps the stored ids to their labels."""

    def labels() -> dict[str, str]:
        return {each["id"]: each["label"] for each in answer(run("entries", pets, "--json"))}

    return labels


Labels = Callable[[], dict[str, str]]


def put(folder: Path, *names: str) -> None:
    """Write pictures that differ."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(to_picture(abs(hash(name)) % 1000))


def test_a_picture_with_a_label_is_inserted_by_its_name(
    run: Run, pets: str, labels: Labels, tmp_path: Path
) -> None:
    put(tmp_path, "some/tom.png", "rex.JPG", "odd")

    run("insert", pets, "some/tom.png", "--label", "cat")
    done = answer(run("insert", pets, "rex.JPG", "odd", "--label", "dog", "--json"))

    assert done["inserted"] == 2
    assert labels() == {"tom.png": "cat", "rex.JPG": "dog", "odd": "dog"}


def test_a_flat_folder_with_a_label_is_inserted_by_the_paths_in_it(
    run: Run, pets: str, labels: Labels, tmp_path: Path
) -> None:
    put(tmp_path, "flat/1.png", "flat/deep/2.png")

    done = [answer(run("insert", pets, "flat", "--label", "cat", "--json")) for _ in range(2)]

    assert [each["inserted"] for each in done] == [2, 0]
    assert labels() == {"1.png": "cat", "deep/2.png": "cat"}


def test_another_folder_with_the_same_names_is_told_how_both_can_be_stored(
    run: Run, pets: str, tmp_path: Path
) -> None:
    put(tmp_path, "cats/1.png", "dogs/1.png")
    run("insert", pets, "cats", "--label", "cat")

    put(tmp_path, "dogs/2.png")
    said = refused(run("insert", pets, "dogs", "--label", "dog"))

    assert said == (
        "Stored already with other content, label or metadata, so nothing was stored: 1.png. To "
        "have both, give them other ids: insert the folder above, with a folder for each label, "
        "into a new memory, or a CSV table with the column id. --keep leaves what is stored as it "
        "is and stores what is new, --replace replaces it. "
        "That changes labels: 1 from cat to dog.\n"
    )


def test_what_was_corrected_is_kept_when_pictures_are_added(
    run: Run, pets: str, labels: Labels, tmp_path: Path
) -> None:
    put(tmp_path, "pics/lotus/1.png", "pics/lotus/2.png", "pics/umbrella/3.png")
    run("insert", pets, "pics")
    run("update", pets, "--id", "lotus/1.png", "--label", "umbrella")
    put(tmp_path, "pics/lotus/4.png")

    said = refused(run("insert", pets, "pics"))
    done = run("insert", pets, "pics", "--keep")
    again = answer(run("insert", pets, "pics", "--keep", "--json"))

    assert said == (
        "Stored already with other content, label or metadata, so nothing was stored: lotus/1.png; "
        "use --keep to leave that as it is and store what is new, or --replace to replace it. "
        "That changes labels: 1 from umbrella to lotus.\n"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(
        f"1 picture inserted into {pets}, 2 there already, 1 kept as stored otherwise. "
    )
    assert (again["inserted"], again["skipped"], again["kept"]) == (0, 3, ["lotus/1.png"])
    assert labels()["lotus/1.png"] == "umbrella"
    assert "lotus/4.png" in labels()


def test_what_is_kept_votes_as_it_did_whatever_the_source_says(
    run: Run, pets: str, tmp_path: Path
) -> None:
    put(tmp_path, "pics/cat/1.png", "pics/cat/2.png")
    run("insert", pets, "pics")
    (tmp_path / "ids.txt").write_text("cat/1.png\ncat/2.png\n")
    pruned = answer(run("prune", pets, "--ids-file", "ids.txt", "--apply", "--json"))
    run("export", pets, "pruned.parquet")
    run("undo", pets, pruned["operation"])
    run("update", pets, "--id", "cat/1.png", "--label", "dog")

    done = answer(run("insert", pets, "pruned.parquet", "--keep", "--json"))

    found = {each["id"]: each for each in answer(run("entries", pets, "--json"))}
    assert done["kept"] == ["cat/1.png"]
    assert not found["cat/1.png"]["pruned_by"]
    assert found["cat/2.png"]["pruned_by"]


def test_labels_that_are_replaced_are_told(run: Run, pets: str, tmp_path: Path) -> None:
    put(tmp_path, "pics/cat/1.png", "pics/dog/2.png")
    run("insert", pets, "pics")
    run("update", pets, "--id", "cat/1.png", "--label", "dog")

    said = text(run("insert", pets, "pics", "--replace"))
    run("update", pets, "--id", "cat/1.png", "--label", "dog")
    done = answer(run("insert", pets, "pics", "--replace", "--json"))

    assert said.endswith("\nThat changed labels: 1 from dog to cat.\n")
    assert done["relabelled"] == [{"id": "cat/1.png", "was": "dog", "label": "cat"}]


def test_contents_that_are_replaced_are_told(run: Run, pets: str, tmp_path: Path) -> None:
    put(tmp_path, "pics/cat/1.png", "pics/cat/2.png", "pics/dog/3.png")
    run("insert", pets, "pics")
    run("update", pets, "--id", "cat/1.png", "--label", "dog")
    Path("pics/dog/3.png").write_bytes(to_picture(1000))

    said = text(run("insert", pets, "pics", "--replace"))
    put(tmp_path, "pics/dog/3.png")
    done = answer(run("insert", pets, "pics", "--replace", "--json"))

    assert "0 pictures inserted" in said
    assert ", 2 replaced, 1 there already." in said
    assert said.endswith(
        "\nThat changed labels: 1 from dog to cat.\nThat changed the content of 1: dog/3.png.\n"
    )
    assert (done["replaced"], done["changed_content"]) == (1, ["dog/3.png"])


def test_one_picture_that_a_memory_holds_is_told_as_one(
    run: Run, pets: str, tmp_path: Path
) -> None:
    put(tmp_path, "pics/cat/1.png")
    run("insert", pets, "pics")

    said = text(run("evaluate", pets, "pics"))

    assert "1 picture of this folder is in the memory itself, which makes it easy.\n" in said


def test_several_folders_of_classes_are_one_source(
    run: Run, pets: str, labels: Labels, tmp_path: Path
) -> None:
    put(tmp_path, "one/cat/1.png", "other/dog/2.png")

    run("insert", pets, "one", "other")

    assert labels() == {"cat/1.png": "cat", "dog/2.png": "dog"}


def test_a_table_of_paths_and_labels_is_inserted_with_its_other_columns_as_metadata(
    run: Run, pets: str, labels: Labels, tmp_path: Path
) -> None:
    put(tmp_path, "shop/pictures/1.png", "shop/2.png", "elsewhere/3.png")
    (tmp_path / "shop" / "list.csv").write_text(
        "\ufeffid,path,label,source\r\n"
        ",pictures/1.png,cat,web\r\n"
        'two,./2.png,"dog, small",\r\n'
        f"three,{tmp_path / 'elsewhere' / '3.png'},cat,own\r\n",
        encoding="utf-8",
    )

    done = [answer(run("insert", pets, "shop/list.csv", "--json")) for _ in range(2)]

    assert [(each["inserted"], each["skipped"]) for each in done] == [(3, 0), (0, 3)]
    found = answer(run("entries", pets, "--json"))
    assert {each["id"]: (each["label"], each["metadata"]) for each in found} == {
        "pictures/1.png": ("cat", {"source": "web"}),
        "two": ("dog, small", {}),
        "three": ("cat", {"source": "own"}),
    }


def test_bad_rows_of_a_table_are_told_with_bad_pictures_and_left_out_where_that_is_asked_for(
    run: Run, pets: str, labels: Labels, tmp_path: Path
) -> None:
    put(tmp_path, "1.png")
    (tmp_path / "list.csv").write_text("path,label\n1.png,cat\n1.png,\ngone.png,cat\n")

    refused, done = run("insert", pets, "list.csv"), run("insert", pets, "list.csv", "--skip-bad")

    assert "list.csv, line 3 has no label.\ngone.png " in refused.stderr
    assert "Nothing was stored, because of 2 " in refused.stderr
    assert (refused.returncode, done.returncode) == (1, 1)
    assert labels() == {"1.png": "cat"}


def test_a_path_that_no_file_has_is_a_bad_row(run: Run, pets: str, tmp_path: Path) -> None:
    put(tmp_path, "good.png")
    table = f"path,label\ngood.png,cat\na\0b.png,cat\n{'x' * 300}.png,cat\n"
    (tmp_path / "table.csv").write_text(table)

    done = run("insert", pets, "table.csv", "--skip-bad")

    assert done.returncode == 1
    assert done.stdout.startswith("1 picture inserted")
    assert "b.png has a name with a NUL character, as no file has." in done.stderr
    assert "x.png cannot be read: File name too long." in done.stderr


def test_bad_rows_of_tables_of_one_name_are_all_told(
    run: Run, pets: str, labels: Labels, tmp_path: Path
) -> None:
    put(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "a" / "t.csv").write_text("path,label\n1.png,cat\n1.png,\n")
    (tmp_path / "b" / "t.csv").write_text("path,label\n2.png,cat\n,dog\n")

    done = run("insert", pets, "a/t.csv", "b/t.csv", "--skip-bad")

    assert "a/t.csv, line 3 has no label.\nb/t.csv, line 3 has no path.\n" in done.stderr
    assert "2 pictures left out." in done.stderr
    assert labels() == {"1.png": "cat", "2.png": "cat"}


def test_bad_pictures_of_one_name_are_all_told_and_a_good_one_is_stored(
    run: Run, pets: str, labels: Labels, tmp_path: Path
) -> None:
    put(tmp_path, "one/cat/1.png", "other/cat/2.png", "two.png")
    for path in ("one/cat/2.png", "one/cat/3.png", "other/cat/3.png"):
        (tmp_path / path).symlink_to("nowhere")
    (tmp_path / "list.csv").write_text("path,label,id\ngone.png,dog,x\ntwo.png,dog,gone.png\n")

    done = run("insert", pets, "one", "other", "list.csv", "--skip-bad", "--json")

    places = ("one/cat/2.png", "one/cat/3.png", "other/cat/3.png", "gone.png")
    assert sorted(json.loads(done.stdout)["bad"]) == sorted(str(tmp_path / each) for each in places)
    assert labels() == {"cat/1.png": "cat", "cat/2.png": "cat", "gone.png": "dog"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["photo.png"], "photo.png is a picture without a label; say with --label"),
        (["notes.txt"], "notes.txt is nothing that can be inserted; give a folder with"),
        (["nowhere.jpg", "--label", "a"], "There is no file or folder nowhere.jpg."),
        (["empty", "--label", "a"], "There are no pictures in empty."),
        (["list.csv", "--label", "a"], "list.csv has labels of its own"),
        (["some.parquet", "--label", "a"], "some.parquet has labels of its own"),
        (["some.parquet", "photo.png"], "some.parquet is a Parquet file; insert it by itself"),
        (["list.csv"], "list.csv has the columns a, b; wanted are path and label"),
        (["flat"], "expected: 1.png. Where all show the same, put them into a folder inside it"),
    ],
)
def test_what_cannot_be_inserted_is_refused_by_what_it_is(
    run: Run, pets: str, tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    put(tmp_path, "photo.png", "flat/1.png")
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.csv").write_text("a,b\n1,2\n")
    (tmp_path / "some.parquet").write_bytes(b"")

    assert sentence in refused(run("insert", pets, *arguments))


def printed(name: str) -> str:
    """Return a name that is not UTF-8 as it is printed."""
    return name.encode(errors="backslashreplace").decode()


def odd(folder: Path) -> dict[str, str]:
    """Make a folder with one good picture and every kind of bad one; return the reasons by id."""
    put(folder, "cat/good.png", "loose.png", "cat/cut.png")
    whole = (folder / "cat" / "cut.png").read_bytes()
    (folder / "cat" / "cut.png").write_bytes(whole[:200])
    (folder / "cat" / "gone.png").symlink_to("nowhere.png")
    (folder / "dog").symlink_to("nowhere")
    (folder / "cat" / "round.png").symlink_to("round.png")
    os.mkfifo(folder / "cat" / "pipe.png")
    (folder / "cat" / "memory.png").symlink_to("/proc/self/mem")
    put(folder, "cat/name.png", "name/1.png")
    os.rename(folder / "cat" / "name.png", os.fsencode(folder) + b"/cat/\xff.png")
    os.rename(folder / "name", os.fsencode(folder) + b"/\xfe")
    return {
        "loose.png": "lies directly in pictures, not in a folder of its label",
        "cat/cut.png": "is damaged",
        "cat/gone.png": "is a link to nothing",
        "dog": "is a link to nothing",
        "cat/round.png": "cannot be read: Too many levels of symbolic links",
        "cat/pipe.png": "is no file that can be read again",
        "cat/memory.png": "cannot be read: Input/output error",
        "cat/\udcff.png": "has a name that is not UTF-8; rename it",
        "\udcfe": "has a name that is not UTF-8; rename it",
    }


def test_all_that_is_odd_is_told_at_once_and_left_out_on_request(
    run: Run, pets: str, labels: Labels, tmp_path: Path
) -> None:
    expected = odd(tmp_path / "pictures")

    said = run("insert", pets, "pictures")
    before = labels()
    done = run("insert", pets, "pictures", "--skip-bad", "--json")

    assert (said.returncode, said.stdout, before) == (1, "", {})
    *lines, last = said.stderr.splitlines()
    assert last == "Nothing was stored, because of 9 pictures; use --skip-bad to store the others."
    for name, why in expected.items():
        assert sum(line.startswith(f"{printed(name)} {why}") for line in lines) == 1
    assert len(lines) == len(expected)
    assert done.returncode == 1
    assert json.loads(done.stdout)["bad"].keys() == expected.keys()
    assert labels() == {"cat/good.png": "cat"}


@pytest.mark.parametrize("question", ["evaluate", "classify", "search"])
def test_questions_about_a_folder_find_the_same_odd(
    run: Run, pets: str, tmp_path: Path, question: str
) -> None:
    put(tmp_path, "pets/cat/1.png")
    run("insert", pets, "pets")
    expected = odd(tmp_path / "pictures")
    if question != "evaluate":
        del expected["loose.png"]

    said = run(question, pets, "pictures")
    done = run(question, pets, "pictures", "--skip-bad", "--json")

    assert said.returncode == done.returncode == 1
    for name, why in expected.items():
        assert f"pictures/{printed(name)} {why}" in said.stderr
    assert said.stderr.count("\n") == len(expected) + 1
    assert f"{len(expected)} pictures left out." in done.stderr


def test_links_to_folders_empty_folders_and_other_files_are_remarked(
    run: Run, pets: str, labels: Labels, tmp_path: Path
) -> None:
    put(tmp_path, "elsewhere/1.png", "pictures/cat/2.png", "pictures/dog/3.png")
    (tmp_path / "pictures" / "bird").mkdir()
    (tmp_path / "pictures" / "fox").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "pictures" / "cat" / "up").symlink_to(tmp_path / "pictures")
    (tmp_path / "pictures" / "cat" / "aside").symlink_to(tmp_path / "pictures" / "dog")
    (tmp_path / "pictures" / "dog" / "back").symlink_to(tmp_path / "pictures" / "cat")
    (tmp_path / "pictures" / "cat" / "notes.txt").write_text("no picture")

    done = run("insert", pets, "pictures")

    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "Left out, as no pictures: 1 .txt.",
        "Followed, as links to folders: pictures/fox.",
        "Read already by another path: pictures/cat/aside, pictures/dog/back.",
        "Not followed, as links to folders that they lie in: pictures/cat/up.",
        "No pictures are in bird.",
    ]
    assert labels().keys() == {"cat/2.png", "dog/3.png", "fox/1.png"}


def test_a_table_with_labels_that_hardly_differ_is_remarked(
    run: Run, pets: str, tmp_path: Path
) -> None:
    put(tmp_path, "0.png", "1.png", "2.png", "Dog/3.png")
    (tmp_path / "list.csv").write_text("path,label\n0.png,cat\n1.png,Cat\n2.png,dog\n")

    said = run("insert", pets, "list.csv").stderr
    asked = run("evaluate", pets, ".", "--skip-bad").stderr

    assert said == (
        "Labels that differ only by blanks, by case or by how Unicode writes their letters are "
        "different labels: Cat, cat.\n"
    )
    assert asked.startswith("Left out, as no pictures: 1 .csv.\nLabels that differ only by")
    assert "are different labels: Dog, dog.\n" in asked


def test_folders_that_only_unicode_tells_apart_are_remarked_and_shown_apart(
    run: Run, pets: str, tmp_path: Path
) -> None:
    put(tmp_path, "pics/sch\u00f6n/0.png", "pics/scho\u0308n/1.png", "pics/cat /2.png")

    said = run("insert", pets, "pics").stderr
    shown = text(run("info", pets))

    assert said.endswith(" are different labels: scho\\u0308n, sch\u00f6n.\n")
    assert "\nscho\\u0308n " in shown
    assert "\nsch\u00f6n " in shown
    assert "\ncat\\x20 " in shown


def test_one_label_for_folders_of_classes_is_remarked(run: Run, pets: str, tmp_path: Path) -> None:
    put(tmp_path, "pics/lotus/1.png", "pics/lotus/2.png", "pics/umbrella/3.png", "pics/4.png")

    said = run("insert", pets, "pics", "--label", "plant").stderr

    assert said == (
        "All pictures get the label plant, also those in folders inside pics: lotus (2), "
        "umbrella (1). Where these folders are the labels, leave --label out.\n"
    )


def test_where_many_have_the_same_fault_they_share_a_line(
    run: Run, pets: str, tmp_path: Path
) -> None:
    put(tmp_path, "pictures/cat/1.png", *(f"pictures/{number:02}.png" for number in range(30)))

    said = run("insert", pets, "pictures").stderr.splitlines()

    assert len(said) == 2
    assert said[0].startswith("00.png, 01.png, ")
    assert said[0].endswith(
        " and 20 more: each lies directly in pictures, not in a folder of its label."
    )


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_avif_is_taken(run: Run, pets: str, labels: Labels, tmp_path: Path) -> None:
    (tmp_path / "pictures" / "cat").mkdir(parents=True)
    Image.effect_noise((64, 64), 80).convert("RGB").save(tmp_path / "pictures" / "cat" / "a.avif")

    run("insert", pets, "pictures")

    assert labels() == {"cat/a.avif": "cat"}


def tiny(seed: int) -> bytes:
    data = BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


class Slow:
    """A server with a slow embedder, and a folder of ``count`` pictures."""

    FLAGS = ("--allow-embedder", "onnx:*", "--threads", "2")

    def __init__(self, start: Start, folder: Path, count: int) -> None:
        self.names = [f"{number % 10}/{number:05}.png" for number in range(count)]
        self.pictures = folder / "pictures"
        for number, name in enumerate(self.names):
            (self.pictures / name).parent.mkdir(parents=True, exist_ok=True)
            (self.pictures / name).write_bytes(tiny(number))
        self.embedder = write_network(folder / "slow.onnx", 2 / PER_SECOND)
        self.server = start(None, *self.FLAGS)
        self.address = self.server.address

    def restart(self, number: int) -> None:
        """End the server by a signal, and start it at the same address."""
        self.server.restart(*self.FLAGS, "--listen", self.address, number=number)

    def insert(self) -> subprocess.Popen[str]:
        """Start the insert command in a process of its own."""
        line = [sys.executable, "-m", "visual_memory_service", "insert", "pets", self.pictures]
        return subprocess.Popen(
            [*map(str, line), "--server", self.address, "--timeout", TIMEOUT],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def test_many_pictures_are_inserted_by_a_slow_server_whoever_is_killed_and_started_again(
    start: Start, tmp_path: Path
) -> None:
    slow = Slow(start, tmp_path, COUNT)

    with visual_memory.connect(slow.address) as client:
        memory = client.create_memory("pets", embedder=slow.embedder)

        def until(count: int) -> int:
            while (found := memory.info().count) < count:
                time.sleep(0.05)
            return found

        first = slow.insert()
        until(COUNT // 5)
        first.kill()
        first.communicate()
        slow.restart(signal.SIGTERM)  # when what the first had sent is stored
        there = memory.info().count
        second = slow.insert()
        until(there + (COUNT - there) // 3)
        slow.restart(signal.SIGKILL)
        said, problems = second.communicate()
        stored = sorted(entry.id for entry in memory.entries())

    assert second.returncode == 0, problems
    assert stored == sorted(slow.names)
    assert said.startswith(
        f"{COUNT - there:,} pictures inserted into pets, {there:,} there already"
    )


def test_a_command_that_is_killed_again_and_again_has_stored_each_picture_once_in_the_end(
    start: Start, tmp_path: Path
) -> None:
    slow = Slow(start, tmp_path, COUNT)

    with visual_memory.connect(slow.address) as client:
        memory = client.create_memory("pets", embedder=slow.embedder)
        for share in (0.2, 0.4, 0.6):
            command = slow.insert()
            while memory.info().count < share * COUNT:
                time.sleep(0.05)
            command.kill()
            command.communicate()
        last = slow.insert()
        said, problems = last.communicate()
        labels = {entry.id: entry.label for entry in memory.entries()}

    assert last.returncode == 0, problems
    assert labels == {name: name[0] for name in slow.names}
    assert "unlearned" not in said + problems


def test_a_memory_that_is_deleted_meanwhile_is_not_said_to_hold_anything(
    start: Start, tmp_path: Path
) -> None:
    slow = Slow(start, tmp_path, COUNT)

    with visual_memory.connect(slow.address) as client:
        memory = client.create_memory("pets", embedder=slow.embedder)
        inserting = slow.insert()
        while memory.info().count < COUNT // 5:
            time.sleep(0.05)
        client.delete_memory("pets")
        _, problems = inserting.communicate()

    assert inserting.returncode == 1
    gone, deleted = problems.splitlines()[-2:]
    assert gone.startswith('There is no memory named "pets"')
    assert deleted.startswith("It was deleted meanwhile, with the ")
    assert "goes on" not in problems


def test_a_picture_that_vanishes_meanwhile_is_left_out_as_other_bad_ones_are(
    client: visual_memory.Client, pets: str, tmp_path: Path
) -> None:
    put(tmp_path, *(f"folder/cat/{number}.png" for number in range(6)))
    memory, options = client.memory(pets), Namespace(keep=False, replace=False, skip_bad=True)
    source = open_source([tmp_path / "folder"], None, memory.info())

    (tmp_path / "folder" / "cat" / "1.png").unlink()
    plan = compare(source, {}, client.server_info().limits)
    (tmp_path / "folder" / "cat" / "3.png").unlink()
    items = [item for item in source.items() if item.id not in plan.bad]
    progress = Progress("pictures", len(items))
    bad_pictures.send(
        lambda items: store(memory, items, plan, progress, options),
        items,
        lambda item: item.id,
        plan.bad,
        options,
    )

    assert plan.bad == {
        "cat/1.png": "cannot be read: No such file or directory",
        "cat/3.png": "cannot be read: no such file",
    }
    assert [each.id[4] for each in memory.entries()] == ["0", "2", "4", "5"]


def test_two_commands_that_insert_the_same_do_not_disturb_each_other(
    start: Start, tmp_path: Path
) -> None:
    slow = Slow(start, tmp_path, 40)

    with visual_memory.connect(slow.address) as client:
        memory = client.create_memory("pets", embedder=slow.embedder)
        both = [slow.insert(), slow.insert()]
        said = [each.communicate() for each in both]

        assert [each.returncode for each in both] == [0, 0], said
        assert sorted(entry.id for entry in memory.entries()) == sorted(slow.names)


def test_what_was_to_be_unlearned_before_is_told_where_it_is_stored_now(
    run: Run, pets: str
) -> None:
    put(Path("folder"), "cat/0.png", "cat/1.png", "dog/2.png")
    assert run("insert", pets, "folder").returncode == 0
    Path("ids.txt").write_text("cat/0.png\ndog/never.png\n")
    where = ("--ids-file=ids.txt", "--certificate=c.json")
    text(run("unlearn", pets, *where, "--apply", "--allow-missing"))

    put(Path("folder"), "dog/never.png")
    again = run("insert", pets, "folder", "--json")

    assert (again.returncode, json.loads(again.stdout)["inserted"]) == (1, 2)
    assert json.loads(again.stdout)["unlearned"] == ["cat/0.png", "dog/never.png"]
    assert again.stderr.endswith(
        f"2 entries are stored now under ids that were to be unlearned from {pets} before: "
        "cat/0.png, dog/never.png.\nWhere that is meant, leave them; where not, take them out of "
        "the source, and unlearn them. The exit code 1 asks you to look.\n"
    )
    nothing_new = run("insert", pets, "folder")
    assert (nothing_new.returncode, "unlearned" in nothing_new.stderr) == (0, False)


def test_what_was_unlearned_before_is_known_where_another_command_stops_the_insertion(
    server: Server, tmp_path: Path
) -> None:
    file, count = tmp_path / "rows.parquet", 1000
    ids = [f"id-{number:03}" for number in range(count)]
    rows = np.random.default_rng(0).normal(size=(count, 4))
    table = {"id": ids, "label": ["cat"] * count, "vector": rows.tolist()}
    pyarrow.parquet.write_table(pyarrow.table(table), file)
    progress, options = Progress("rows", count), Namespace(keep=False, replace=False)

    with visual_memory.connect(server.address) as client:
        memory = client.create_memory(f"memory-{uuid4().hex}", dimension=4)
        memory.insert(vectors=rows[:1], labels=["cat"], ids=ids[:1])
        memory.unlearn(ids[:1])
        source = open_source([file], None, memory.info())
        plan = Plan(new=set(ids))
        memory.insert(vectors=-rows[950:951], labels=["dog"], ids=ids[950:951])  # meanwhile

        with pytest.raises(Refused, match="other content, label or metadata: id-950; use --keep"):
            store(memory, list(source.items()), plan, progress, options)

        assert memory.info().count == progress.done + 1
    assert progress.done > 0
    assert plan.unlearned == {"id-000"}


BAD_ROWS = {
    "a vector of zeros": ("vector", [0.0] * 4, "id-14000.vector must be finite and not zero"),
    "a vector beyond numbers": ("vector", [float("nan")] * 4, "id-14000.vector must be finite"),
    "a long label": ("label", "x" * 257, "id-14000.label must be 1 to 256 UTF-8 bytes"),
    "much metadata": ("metadata", json.dumps({"k": "x" * 17_000}), "id-14000.metadata must be at"),
    "another hash": ("content_sha256", "A" * 64, "id-14000.content_sha256 must be 64 lower-case"),
    "a shorter vector": ("vector", [1.0] * 3, "dimension 3, but"),
}


@pytest.mark.parametrize("bad", BAD_ROWS)
@pytest.mark.parametrize("skip", [(), ("--skip-bad",)])
def test_a_bad_row_of_a_parquet_file_is_told_before_anything_is_stored(
    run: Run, server: Server, tmp_path: Path, bad: str, skip: tuple[str, ...]
) -> None:
    count, at = 15_000, 14_000
    table: dict[str, list[Any]] = {
        "id": [f"id-{number:05}" for number in range(count)],
        "label": ["cat"] * count,
        "vector": np.random.default_rng(0).normal(size=(count, 4)).tolist(),
        "metadata": [""] * count,
        "content_sha256": [""] * count,
    }
    column, value, said = BAD_ROWS[bad]
    table[column][at] = value
    pyarrow.parquet.write_table(pyarrow.table(table), tmp_path / "rows.parquet")
    with visual_memory.connect(server.address) as client:
        memory = client.create_memory(f"memory-{uuid4().hex}", dimension=4)

        refused = run("insert", memory.name, "rows.parquet", *skip)

        assert refused.returncode == 1
        assert said in refused.stderr
        assert memory.info().count == 0


def test_vectors_of_another_length_further_on_are_told_before_anything_is_stored(
    run: Run, server: Server, tmp_path: Path
) -> None:
    lengths = [4] * 4096 + [3] * 10
    table = {
        "id": [str(number) for number in range(len(lengths))],
        "label": ["cat"] * len(lengths),
        "vector": [[1.0] * length for length in lengths],
    }
    pyarrow.parquet.write_table(pyarrow.table(table), tmp_path / "rows.parquet")
    with visual_memory.connect(server.address) as client:
        memory = client.create_memory(f"memory-{uuid4().hex}", dimension=4)

        refused = run("insert", memory.name, "rows.parquet")

        assert refused.returncode == 1
        assert "has dimension 3, but" in refused.stderr
        assert memory.info().count == 0
