"""Backups, restores and copies from the command line, against a real server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.service.conftest import Run, answer, text

if TYPE_CHECKING:
    from tests.conftest import RemoteMemory

    from visual_memory import Client


def test_a_backup_is_written_restored_and_copied(
    run: Run, client: Client, pets: RemoteMemory, tmp_path: Path
) -> None:
    name, digest = pets.name, client.memory(pets.name).info().digest

    backed_up = text(run("backup", name, "pets.vmb"))
    restored = text(run("restore", "pets.vmb", f"{name}-2"))
    copied = text(run("copy", name, f"{name}-3"))

    size = (tmp_path / "pets.vmb").stat().st_size / (1 << 20)
    assert backed_up == f"{name} is in pets.vmb, {size:.1f} MiB.\n"
    assert (
        restored
        == f"{name}-2 is restored from pets.vmb: 3 entries of 2 labels.\nDigest {digest}.\n"
    )
    assert copied == f"{name}-3 is a copy of {name}: 3 entries.\n"


def test_what_is_left_out_is_told(run: Run, client: Client, pets: RemoteMemory) -> None:
    text(run("backup", pets.name, "pets.vmb"))
    client.memory(pets.name).unlearn(["a"])

    told = text(run("restore", "pets.vmb", f"{pets.name}-2"))
    found = answer(run("restore", "pets.vmb", f"{pets.name}-3", "--json"))

    assert told.endswith("1 entry left out: unlearned since the backup.\n")
    assert (found["left_out"], found["count"]) == (1, 2)


def test_programs_are_answered_with_json(
    run: Run, client: Client, pets: RemoteMemory, tmp_path: Path
) -> None:
    name, digest = pets.name, client.memory(pets.name).info().digest

    backed_up = answer(run("backup", name, "pets.vmb", "--json"))
    restored = answer(run("restore", "pets.vmb", f"{name}-2", "--json"))
    copied = answer(run("copy", name, f"{name}-3", "--json"))

    size = (tmp_path / "pets.vmb").stat().st_size
    assert backed_up == {"memory": name, "file": "pets.vmb", "bytes": size}
    assert (restored["name"], restored["digest"], restored["left_out"]) == (f"{name}-2", digest, 0)
    assert (copied["name"], copied["digest"]) == (f"{name}-3", digest)


def test_a_file_that_is_there_is_kept_unless_forced(run: Run, pets: RemoteMemory) -> None:
    Path("pets.vmb").write_bytes(b"old")

    refused = run("backup", pets.name, "pets.vmb")

    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "pets.vmb exists already; use --force to overwrite it.\n"
    assert Path("pets.vmb").read_bytes() == b"old"
    text(run("backup", pets.name, "pets.vmb", "--force"))
    assert Path("pets.vmb").read_bytes().startswith(b"SQLite")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["backup", "nobody", "new.vmb"], 'There is no memory named "nobody"'),
        (["backup", "{pets}", "nowhere/new.vmb"], "There is no folder for nowhere/new.vmb."),
        (["restore", "nowhere.vmb", "new"], "No such file: nowhere.vmb."),
        (["restore", "cut.vmb", "new"], "The backup cannot be restored: its end is missing"),
        (["restore", "other.vmb", "new"], "The backup cannot be restored: it is another kind"),
        (["restore", "pets.vmb", "{pets}"], "exists already; choose another name"),
        (["restore", "pets.vmb", "Pets"], "name must be 1 to 63 of a-z"),
        (["copy", "{pets}", "{pets}"], "exists already; choose another name"),
        (["copy", "nobody", "new"], 'There is no memory named "nobody"'),
    ],
)
def test_what_cannot_be_done_is_told_in_one_sentence(
    arguments: list[str], sentence: str, run: Run, pets: RemoteMemory
) -> None:
    text(run("backup", pets.name, "pets.vmb"))
    Path("cut.vmb").write_bytes(Path("pets.vmb").read_bytes()[:-10])
    Path("other.vmb").write_text("no backup at all, but long enough to have an end of that size")

    done = run(*(word.format(pets=pets.name) for word in arguments))

    assert done.returncode == 1
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert not Path("new.vmb").exists()


def test_a_backup_that_no_server_gives_leaves_the_old_file(
    run: Run, pets: RemoteMemory, tmp_path: Path
) -> None:
    text(run("backup", pets.name, "pets.vmb"))
    before = Path("pets.vmb").read_bytes()

    done = run(
        "backup", pets.name, "pets.vmb", "--force", "--server", "127.0.0.1:1", "--timeout", 1
    )

    assert done.returncode == 1
    assert done.stderr.startswith("No server answers at 127.0.0.1:1")
    assert Path("pets.vmb").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["pets.vmb"]
