"""Files that are no listed memory's have names of their own, and harm no memory."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_memory_index import NAME, Catalog, Entry
from visual_memory_index.catalog.listing import called
from visual_memory_index.errors import MemoryRefusal, UnlistedFile
from visual_memory_index.scan.indexes import ScannedIndexes
from visual_memory_index.scan.scanned_index import ScannedIndex

WAYS_OUT = re.compile(r'visual-memory accept (\S+) --data DIR, or delete the memory "(.*)"\.$')
STEMS = st.text(st.sampled_from("aB.-_ /é\udcff日"), min_size=1, max_size=80)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with the memories cats and dogs; each has one entry, named like the memory."""
    with closing(Catalog(tmp_path)) as catalog:
        for name in ("cats", "dogs"):
            memory = catalog.create(name, dimension=2, embedder=None)
            assert memory is not None
            with closing(memory):
                memory.insert(
                    [Entry(name, "pet", content_sha256=bytes(32))],
                    np.array([[0.6, 0.8]], np.float32),
                )
    return tmp_path


class CountedIndexes(ScannedIndexes):
    """An ``IndexFactory`` that counts the indexes it makes."""

    made = 0

    def new(self, dimension: int, **options: Any) -> ScannedIndex:
        self.made += 1
        return super().new(dimension, **options)


def listed(folder: Path, name: str) -> Path:
    """Return the file of a listed memory."""
    (path,) = (folder / "memories").glob(f"{name}.????????.sqlite")
    return path


def stray(folder: Path, file: str, of: str = "cats") -> Path:
    """Copy a memory's file to another name beside it; return the copy."""
    return Path(shutil.copy(listed(folder, of), folder / "memories" / file))


def held(catalog: Catalog) -> dict[str, list[str] | str]:
    """Map each memory to its ids or, if it does not open, to the refusal."""
    found: dict[str, list[str] | str] = {}
    for name in catalog.names():
        try:
            with closing(catalog.open(name)) as memory:
                found[name] = memory.ids()
        except MemoryRefusal as refusal:
            found[name] = str(refusal)
    return found


def strays(catalog: Catalog) -> dict[str, str]:
    """Map each unlisted file to the name that refusals give it, in both ways out."""
    found = {}
    for name, said in held(catalog).items():
        if isinstance(said, str):
            ways = WAYS_OUT.search(said)
            assert ways is not None
            assert ways.groups() == (name, name)
            assert NAME.fullmatch(name)
            found[said.partition(" ")[0]] = name
    return found


def accept(folder: Path, name: str) -> None:
    with closing(Catalog(folder)) as catalog:
        doubt = catalog.doubt(name)
        assert doubt is not None
        with catalog.accepting(doubt, settings=()) as rebuilt:
            catalog.accept(doubt, rebuilt)


def test_a_copy_named_like_a_memory_does_not_stand_in_its_way(folder: Path) -> None:
    copy = stray(folder, "cats.sqlite")

    with closing(Catalog(folder)) as catalog:
        found = held(catalog)

        assert (found["cats"], found["dogs"]) == (["cats"], ["dogs"])
        (name,) = strays(catalog).values()
        assert name.startswith("cats.")
        catalog.drop(name)
        catalog.clear()
        assert (catalog.names(), copy.exists()) == (["cats", "dogs"], False)
        assert held(catalog)["cats"] == ["cats"]


def test_a_copy_that_is_accepted_is_a_memory_beside_the_other(folder: Path) -> None:
    stray(folder, "cats.sqlite")
    with closing(Catalog(folder)) as catalog:
        (name,) = strays(catalog).values()
        assert catalog.doubt("cats") is None

    accept(folder, name)

    with closing(Catalog(folder)) as catalog:
        assert held(catalog) == {"cats": ["cats"], name: ["cats"], "dogs": ["dogs"]}


def test_accepting_a_memory_opens_it_with_the_index_of_the_catalog(folder: Path) -> None:
    stray(folder, "cats.sqlite")
    indexes = CountedIndexes()
    with closing(Catalog(folder, indexes)) as catalog:
        (name,) = {*catalog.names()} - {"cats", "dogs"}
        doubt = catalog.doubt(name)
        assert doubt is not None
        with catalog.accepting(doubt, settings=()) as rebuilt:
            catalog.accept(doubt, rebuilt)

    assert indexes.made == 1


@pytest.mark.parametrize(
    "files",
    [
        {"cats.sqlite": "cats", "dogs.sqlite": "cats"},
        {"cats.sqlite": "dogs", "dogs.sqlite": "cats"},
        {"cats.sqlite": "cats", "Cats.sqlite": "cats", "cats (copy).sqlite": "dogs"},
        {"cats.old.sqlite": "cats", "dogs.old.sqlite": "dogs", "old.sqlite": "cats"},
    ],
)
def test_several_copies_each_have_a_name_of_their_own(
    folder: Path, files: Mapping[str, str]
) -> None:
    paths = [stray(folder, file, of) for file, of in files.items()]

    with closing(Catalog(folder)) as catalog:
        names = strays(catalog)
        assert len({*names.values(), "cats", "dogs"}) == len(files) + 2
        assert (held(catalog)["cats"], held(catalog)["dogs"]) == (["cats"], ["dogs"])
        for path in paths:
            catalog.drop(names[path.name.partition(" ")[0]])
            catalog.clear()
            assert not path.exists()
        assert held(catalog) == {"cats": ["cats"], "dogs": ["dogs"]}


def test_names_that_were_told_of_several_files_hold_when_one_of_them_is_accepted(
    folder: Path,
) -> None:
    with closing(Catalog(folder)) as catalog:
        path = listed(folder, "cats")
        files = [path.with_name(f"fish.{end}.sqlite") for end in ("0a", "0b")]
        for file in files:
            shutil.copy(path, file)
        catalog.drop("cats")
        catalog.clear()
    with closing(Catalog(folder)) as catalog:
        names = strays(catalog)

    for file in files:
        accept(folder, names[file.name])

    with closing(Catalog(folder)) as catalog:
        assert held(catalog) == {"dogs": ["dogs"], "fish.0a": ["cats"], "fish.0b": ["cats"]}


def test_a_folder_beside_the_files_is_no_memory(folder: Path) -> None:
    (folder / "memories" / "old.sqlite").mkdir()

    with closing(Catalog(folder)) as catalog:
        assert catalog.names() == ["cats", "dogs"]


def test_a_file_whose_name_is_no_text_is_told_and_has_to_be_renamed(folder: Path) -> None:
    copy = stray(folder, "cats\udcff.sqlite")
    on_progress = r"^cats\\udcff\.sqlite holds the memory .*, or give the file a name in UTF-8\.$"

    with closing(Catalog(folder)) as catalog:
        (name,) = set(catalog.names()) - {"cats", "dogs"}
        for ask in (catalog.open, catalog.doubt, catalog.drop):
            with pytest.raises(UnlistedFile, match=on_progress):
                ask(name)

    copy.rename(copy.with_name("é.sqlite"))
    with closing(Catalog(folder)) as catalog:
        (name,) = strays(catalog).values()
        catalog.drop(name)
        catalog.clear()
        assert held(catalog) == {"cats": ["cats"], "dogs": ["dogs"]}


@given(st.dictionaries(STEMS, STEMS | st.just(""), max_size=6), st.sets(STEMS, max_size=6))
def test_names_are_legal_and_nobody_elses(meant: dict[str, str], taken: set[str]) -> None:
    names = called(meant, taken)

    assert names.keys() == meant.keys()
    assert all(NAME.fullmatch(name) for name in names.values())
    assert len({*names.values(), *taken}) == len(names) + len(taken)
