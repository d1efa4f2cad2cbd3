"""Entries exported and inserted again are equal, as the digest shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from tests.conftest import to_picture
from tests.service.conftest import Run, answer, refused

if TYPE_CHECKING:
    from tests.conftest import RemoteMemory

    from visual_memory import Client, Memory

Ask = Callable[..., Any]

COUNT, DIMENSION = 30, 5


@pytest.fixture
def run(run: Run) -> Ask:
    """Runs a command that asks the server, and parses its JSON."""
    return lambda *arguments: answer(run(*arguments, "--json"))


@pytest.fixture
def names(empty: RemoteMemory) -> tuple[str, str]:
    return f"{empty.name}a", f"{empty.name}b"


def memory_of(client: Client, name: str, **options: Any) -> Memory:
    """Create a memory with metadata of all kinds; two entries are pruned, and one relabelled."""
    memory = client.create_memory(name, **options)
    rows = np.random.default_rng(0).standard_normal((COUNT, DIMENSION))
    pictures = [to_picture(at) if at % 3 == 0 else None for at in range(COUNT)]
    memory.insert(
        vectors=rows,
        images=pictures if options.get("store_images") else None,
        labels=["cat", "Häher", "\u2603"] * (COUNT // 3),
        ids=[f"entry {at}" for at in range(COUNT)],
        metadata=[{}, {"b": "2", "a": '"'}, {"a": ""}] * (COUNT // 3),
    )
    memory.prune(method="ids", ids=["entry 0", "entry 7"], apply=True)
    memory.relabel({"entry 2": "wolf"}, apply=True)
    return memory


@pytest.mark.parametrize("store_images", [False, True])
def test_an_export_that_is_inserted_has_the_same_digest(
    store_images: bool, run: Ask, client: Client, names: tuple[str, str]
) -> None:
    options: dict[str, Any] = {"dimension": DIMENSION, "store_images": store_images}
    before = memory_of(client, names[0], **options).info()
    client.create_memory(names[1], **options)

    run("export", names[0], "out.parquet")
    first = run("insert", names[1], "out.parquet")
    again = run("insert", names[1], "out.parquet")

    after = client.memory(names[1]).info()
    assert (after.digest, after.pruned_count) == (before.digest, 2)
    assert (first["inserted"], first["pruned"]) == (COUNT, 2)
    assert (again["inserted"], again["skipped"], again["pruned"]) == (0, COUNT, 0)


def test_pictures_that_were_embedded_come_back_with_the_same_digest(
    run: Ask, client: Client, names: tuple[str, str]
) -> None:
    options: dict[str, Any] = {"embedder": "efficientnet-lite0", "store_images": True}
    memory = client.create_memory(names[0], **options)
    ids = memory.insert(images=[to_picture(at) for at in range(4)], labels=["cat", "dog"] * 2).ids
    memory.prune(method="ids", ids=ids[:1], apply=True)
    client.create_memory(names[1], **options)

    run("export", names[0], "out.parquet")
    run("insert", names[1], "out.parquet")

    assert client.memory(names[1]).info().digest == memory.info().digest


@pytest.mark.parametrize("store_images", [False, True])
def test_pictures_that_the_other_memory_does_not_keep_are_named(
    store_images: bool, command: Run, run: Ask, client: Client, names: tuple[str, str]
) -> None:
    memory_of(client, names[0], dimension=DIMENSION, store_images=True)
    client.create_memory(names[1], dimension=DIMENSION, store_images=store_images)
    run("export", names[0], "out.parquet")

    inserted = command("insert", names[1], "out.parquet")

    assert inserted.returncode == 0
    left_out = f"The column image of out.parquet is left out, as {names[1]} keeps no pictures.\n"
    assert (left_out in inserted.stderr) != store_images


@pytest.mark.parametrize("store_images", [False, True])
def test_a_folder_is_known_again_by_a_memory_that_was_exported_and_inserted(
    store_images: bool, run: Ask, client: Client, names: tuple[str, str], tmp_path: Path
) -> None:
    (tmp_path / "pets" / "cat").mkdir(parents=True)
    for number in range(3):
        (tmp_path / "pets" / "cat" / f"{number}.png").write_bytes(to_picture(number))
    for name in names:
        client.create_memory(name, store_images=store_images)
    run("insert", names[0], "pets")
    run("export", names[0], "out.parquet")
    run("insert", names[1], "out.parquet")

    again = run("insert", names[1], "pets")

    assert (again["inserted"], again["skipped"]) == (0, 3)
    one, other = (list(client.memory(name).entries()) for name in names)
    assert [each.content_sha256 for each in one] == [each.content_sha256 for each in other]


def test_a_file_of_before_hashes_were_in_it_is_inserted_all_the_same(
    run: Ask, client: Client, names: tuple[str, str]
) -> None:
    memory_of(client, names[0], dimension=DIMENSION)
    client.create_memory(names[1], dimension=DIMENSION)
    run("export", names[0], "out.parquet")
    table = pa.parquet.read_table("out.parquet")
    pa.parquet.write_table(table.drop_columns(["content_sha256"]), "old.parquet")

    done = [run("insert", names[1], name) for name in ("old.parquet", "out.parquet")]

    assert [(each["inserted"], each["skipped"]) for each in done] == [(COUNT, 0), (0, COUNT)]


def test_another_row_is_other_content_whatever_its_hash_says(
    command: Run, run: Ask, client: Client, names: tuple[str, str]
) -> None:
    memory_of(client, names[0], dimension=DIMENSION)
    run("export", names[0], "out.parquet")
    table = pa.parquet.read_table("out.parquet").to_pydict()
    table["vector"][0] = [-x for x in table["vector"][0]]
    del table["metadata"]
    pa.parquet.write_table(pa.table(table), "other.parquet")

    said = refused(command("insert", names[0], "other.parquet"))

    assert "nothing was stored: entry 0; use --keep" in said


def test_a_hash_that_is_none_is_refused_by_its_id(
    command: Run, run: Ask, client: Client, names: tuple[str, str]
) -> None:
    memory = client.create_memory(names[0], dimension=2)
    table = {"id": ["a", "b"], "label": ["x", "y"], "vector": [[1.0, 0.0], [0.0, 1.0]]}
    pa.parquet.write_table(pa.table({**table, "content_sha256": ["", "none"]}), "some.parquet")

    said = refused(command("insert", names[0], "some.parquet"))

    assert said == (
        "b.content_sha256 must be 64 lower-case hex digits, or empty, but is 'none'. "
        "Nothing was stored.\n"
    )
    assert memory.info().count == 0


def test_what_was_stored_before_its_vote_was_taken_is_made_up_for(
    run: Ask, client: Client, names: tuple[str, str]
) -> None:
    """The state is that after an interrupted insertion."""
    memory = memory_of(client, names[0], dimension=DIMENSION)
    run("export", names[0], "out.parquet")
    (prune,) = [each for each in client.operations(names[0]) if each.kind == "prune"]
    pruned = memory.info().digest
    memory.undo(prune.name)

    done = run("insert", names[0], "out.parquet")

    assert (done["skipped"], done["pruned"]) == (COUNT, 2)
    assert memory.info().digest == pruned


def test_what_replaces_a_pruned_entry_is_pruned_again(
    run: Ask, client: Client, names: tuple[str, str]
) -> None:
    memory = memory_of(client, names[0], dimension=DIMENSION)
    run("export", names[0], "out.parquet")
    digest = memory.info().digest
    memory.update("entry 7", label="fox")

    done = run("insert", names[0], "out.parquet", "--replace")

    assert (done["replaced"], done["pruned"]) == (1, 1)
    assert memory.info().digest == digest


def test_people_are_told_what_was_pruned_and_how_to_undo_it(
    run: Ask, command: Run, client: Client, names: tuple[str, str]
) -> None:
    memory_of(client, names[0], dimension=DIMENSION)
    client.create_memory(names[1], dimension=DIMENSION)
    run("export", names[0], "out.parquet")

    done = command("insert", names[1], "out.parquet")

    (prune,) = client.operations(names[1])
    assert (
        f"2 entries pruned, as in out.parquet; visual-memory undo {names[1]} {prune.name}   takes "
        "it back." in done.stdout
    )


def test_a_file_without_the_column_takes_no_votes(
    run: Ask, client: Client, names: tuple[str, str]
) -> None:
    memory_of(client, names[0], dimension=DIMENSION)
    client.create_memory(names[1], dimension=DIMENSION)
    run("export", names[0], "out.parquet")
    table = pa.parquet.read_table("out.parquet")
    pa.parquet.write_table(table.drop_columns(["pruned"]), "old.parquet")

    done = run("insert", names[1], "old.parquet")

    assert (done["inserted"], done["pruned"]) == (COUNT, 0)
    assert client.memory(names[1]).info().pruned_count == 0


@pytest.mark.parametrize("name", ["pets.csv", "pets.JSON"])
def test_a_name_that_promises_another_format_is_refused(
    command: Run, tmp_path: Path, name: str
) -> None:
    said = refused(command("export", "pets", name, "--server", "127.0.0.1:1"))

    assert said == f"{name} would hold Parquet, which export writes; let it end in .parquet.\n"
    assert not (tmp_path / name).exists()
