"""The contract of every store in files: bytes are listed, searched, truncated and rewritten.

Written against ``stored_files`` and ``store.Store`` alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from tests.index.conformance.implementations import FILED, SearchableStore
from tests.index.conformance.test_store import ENTRIES, IDENTITY, VECTORS, insert

from visual_memory_index import Entry
from visual_memory_index.erasure.masks import masked
from visual_memory_index.erasure.residue import ResiduePatterns


@pytest.fixture(params=FILED)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SearchableStore]:
    """A store with three entries under the keys 5, 6 and 7."""
    with closing(FILED[request.param](tmp_path).create(IDENTITY)) as opened:
        with opened.transaction() as transaction:
            insert(transaction, range(5, 8), ENTRIES, VECTORS, 10)
        yield opened


def test_what_entries_are_made_of_is_read_as_far_as_there_is_room(store: SearchableStore) -> None:
    picture = Entry("p", "owl", None, {"by": "me"}, 0, b"hash", image=b"large", thumbnail=b"small")
    with store.transaction() as transaction:
        insert(transaction, range(8, 9), [picture], VECTORS[:1], 0)

        remains = transaction.remains_of(np.array([6, 8]), 1000)
        short = transaction.remains_of(np.array([8, 6]), 0)
        same_content = transaction.same_content([b"hash", b"\xff", b"nobody", b""])
        others = [list(transaction.sample_images(*each)) for each in ((9, 9), (9, 3), (0, 9))]

    assert remains.texts == {"b", "\x01\n", "a", "😀", "", "by", "me"}
    assert remains.contents == [
        (b"", VECTORS[1].tobytes(), []),
        (b"hash", VECTORS[0].tobytes(), [b"large", b"small"]),
    ]
    assert short.contents == []
    assert same_content == {(b"hash", VECTORS[0].tobytes()), (b"\xff", VECTORS[2].tobytes())}
    assert others == [[b"small", b"large"], [b"sma", b"lar"], []]


def test_the_bytes_that_some_entry_has_are_found(store: SearchableStore) -> None:
    text, absent = "a text of some length", "another of some length"
    entry = Entry("p", "owl", None, {"note": text}, 0, b"hash", image=b"a picture")
    with store.transaction() as transaction:
        insert(transaction, range(8, 9), [entry], VECTORS[:1], 0)

    found = store.found_in(ResiduePatterns([text, absent]))

    assert found == {masked(text.encode())}


def contents_of(descriptors: list[int]) -> bytes:
    return b"".join(os.pread(each, os.fstat(each).st_size, 0) for each in descriptors)


def test_what_was_deleted_is_in_no_file_once_the_log_is_empty_and_all_is_written_anew(
    store: SearchableStore,
) -> None:
    text = b"a text that is to leave no residue"
    entry = Entry("p", "owl", None, {"note": text.decode()}, 0, b"hash")
    with store.transaction() as transaction:
        insert(transaction, range(8, 9), [entry], VECTORS[:1], 0)
    before = text in contents_of(store.descriptors())
    with store.transaction() as transaction:
        transaction.delete(np.array([8]))

    store.renew_connections()
    store.rewrite()
    was_cut = store.truncate_log()

    assert (before, was_cut) == (True, True)
    assert text not in contents_of(store.descriptors())
    assert store.path.exists()
    assert store.bytes_on_disk() == len(contents_of(store.descriptors()[:1]))
