"""The contract of every registry: which memories exist, and which entries were unlearned.

Written against ``registry.Registry`` alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from tests.index.conformance.implementations import REGISTRIES, RegistryPlace

from visual_memory_index import WITHOUT_ID, Request
from visual_memory_index.catalog.registry import Registry
from visual_memory_index.catalog.tombstones import BEFORE_ALL
from visual_memory_index.errors import LostSecret, RequestReused
from visual_memory_index.ledger.standing import Noted, Standing

SECRET, UID = bytes(range(32)), "0" * 32
NOTED = Noted("0" * 32, Standing(3, "a" * 64), None)


@pytest.fixture(params=REGISTRIES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> RegistryPlace:
    return REGISTRIES[request.param](tmp_path)


@pytest.fixture
def registry(place: RegistryPlace) -> Iterator[Registry]:
    """A registry with the memory ``birds``, ready, and ``fish``, not ready."""
    with closing(place.open()) as opened:
        with opened.transaction() as write:
            write.add("birds", "birds.1.sqlite")
            write.set_ready("birds")
            write.add("fish", "fish.1.sqlite")
        yield opened


def test_what_is_ready_is_found_and_what_is_listed_is_taken(registry: Registry) -> None:
    with registry.reading() as read:
        assert read.names() == ["birds"]
        assert [read.file_of(name) for name in ("birds", "fish", "x")] == [
            "birds.1.sqlite",
            None,
            None,
        ]
        assert [read.is_taken(name) for name in ("birds", "fish", "x")] == [True, True, False]
        assert read.files() == {"birds.1.sqlite": "birds", "fish.1.sqlite": "fish"}


def test_a_transaction_is_there_after_a_restart_and_one_that_fails_never(
    place: RegistryPlace, registry: Registry
) -> None:
    with suppress(InterruptedError), registry.transaction() as write:
        write.set_ready("fish")
        assert write.names() == ["birds", "fish"]
        raise InterruptedError
    registry.close()

    with closing(place.open()) as opened:
        opened.check()
        with opened.reading() as read:
            assert read.names() == ["birds"]


def test_a_removed_memory_is_gone_and_its_name_is_free(registry: Registry) -> None:
    with registry.transaction() as write:
        file = write.remove("birds")
        write.drop(file or "")
        again = write.remove("birds")

    with registry.reading() as read:
        assert (file, again) == ("birds.1.sqlite", None)
        assert (read.is_taken("birds"), read.dropped()) == (False, ["birds.1.sqlite"])
        assert read.files()["birds.1.sqlite"] == ""
    with registry.transaction() as write:
        write.forget_dropped(["birds.1.sqlite"])
        assert write.dropped() == []


def test_what_was_never_ready_is_dropped_but_not_what_was_ready_by_its_file(
    registry: Registry,
) -> None:
    with registry.transaction() as write:
        write.add("frogs", "frogs.1.sqlite")
        write.keep_ready(lambda file: file == "frogs.1.sqlite")
        write.drop_unfinished()

        assert sorted(write.names()) == ["birds", "frogs"]
        assert (write.dropped(), write.is_taken("fish")) == (["fish.1.sqlite"], False)


def test_a_file_takes_the_place_of_another(registry: Registry) -> None:
    with registry.transaction() as write:
        write.drop("birds.2.sqlite")
    with registry.transaction() as write:
        write.replace("birds", "birds.2.sqlite")
        write.drop("birds.1.sqlite")

        assert (write.file_of("birds"), write.dropped()) == ("birds.2.sqlite", ["birds.1.sqlite"])


def test_where_a_listed_memory_stands_is_noted(registry: Registry) -> None:
    with registry.transaction() as write:
        write.note("birds.1.sqlite", NOTED)
        write.note("unlisted.1.sqlite", NOTED)

    with registry.reading() as read:
        assert read.noted("birds.1.sqlite") == NOTED
        assert read.noted("unlisted.1.sqlite") is None


def test_an_answered_request_is_remembered_by_id_and_content(registry: Registry) -> None:
    request = Request("r", b"content")
    with registry.transaction() as write:
        before = write.recall(request), write.knows_request("r")
        write.keep(request, "birds")
        write.keep(WITHOUT_ID, "fish")

    with registry.reading() as read:
        assert before == (None, False)
        assert (read.recall(request), read.knows_request("r")) == ("birds", True)
        assert read.recall(WITHOUT_ID) is None
        with pytest.raises(RequestReused):
            read.recall(Request("r", b"other"))


def test_unlearnings_and_backups_have_one_order(registry: Registry) -> None:
    with registry.transaction() as write:
        first = write.mark_unlearned(SECRET, UID, ["a", "b"])
        write.note_backup("monday", UID, 5)
        last = write.mark_unlearned(SECRET, UID, ["b", "c"])

    with registry.reading() as read:
        monday = read.tick_of_backup("monday")
        assert first < monday < last == read.ticks()
        assert read.tick_of_backup("from elsewhere") == BEFORE_ALL
        assert sorted(read.unlearned_since(SECRET, UID, "abcd", monday)) == ["b", "c"]
        assert sorted(read.unlearned_since(SECRET, UID, "abcd", BEFORE_ALL)) == ["a", "b", "c"]
        assert sorted(read.unlearned(SECRET, UID, "abcd")) == ["a", "b", "c"]
        assert read.unlearned(SECRET, "1" * 32, "abcd") == []
        assert read.unlearned(bytes(32), UID, "abcd") == []


def test_the_secret_is_made_once_and_its_loss_is_noticed(
    registry: Registry, tmp_path: Path
) -> None:
    path = tmp_path / "keys" / "secret"
    with registry.transaction() as write:
        made = write.read_secret(path)
    with registry.transaction() as write:
        assert write.read_secret(path) == made == path.read_bytes()
    path.unlink()

    with pytest.raises(LostSecret), registry.transaction() as write:
        write.read_secret(path)
    path.write_bytes(bytes(32))
    with pytest.raises(LostSecret), registry.transaction() as write:
        write.read_secret(path)


def test_backups_are_listed_by_the_uid_of_their_memory(registry: Registry) -> None:
    with registry.transaction() as write:
        for name, uid, time in (("monday", UID, 5), ("other", "1" * 32, 6), ("tuesday", UID, 7)):
            write.note_backup(name, uid, time)

    with registry.reading() as read:
        assert sorted(read.backups(UID)) == [5, 7]
        assert read.backups("1" * 32) == [6]
        assert read.backups("2" * 32) == []
