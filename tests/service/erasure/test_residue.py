"""Nothing is left of erased data: in files and memory, or in files alone."""

from __future__ import annotations

import json
import queue
import threading
import time
from contextlib import suppress
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.conftest import SECONDS, Server, Start, to_picture
from tests.service.erasure.conftest import (
    COUNT,
    LINUX,
    insert_people,
    insert_same,
    new_album,
    person_ids,
    rows,
    secret,
    secrets_of,
)
from tests.service.erasure.residue import Residue

import visual_memory
from visual_memory import Client, Memory
from visual_memory_index import unit_rows
from visual_memory_index.codes.planes import Planes
from visual_memory_service.erasure.statement import ONLY_FILES
from visual_memory_service.erasure.unlearn import ALL_FILES


@LINUX
def test_nothing_is_left_in_files_and_memory(start: Start) -> None:
    server, ids = start(), person_ids()
    with visual_memory.connect(server.address) as client:
        album = new_album(client)
        insert_people(album, ids)
        for id in ids[:9]:
            album.update(id, label=secret("changed", ids.index(id)))
        pruned = album.prune(method="ids", ids=ids[9:18], apply=True)
        album.relabel(
            {id: secret("again", number) for number, id in enumerate(ids[18:27])}, apply=True
        )
        album.misleading_counts(5)
        album.assess(k=5)
        album.calibrate(k=5)
        album.classify(vectors=rows(3), k=5)
        states = watched(server)
        residue = Residue(secrets_of(album, ids))
        assert len(residue.in_files(server.data)) > 5 * COUNT
        assert len(residue.in_process(server.process.pid)) > 5 * COUNT

        certificate = album.unlearn(ids)

        assert states.get(timeout=SECONDS) == "ended"
        assert residue.in_process(server.process.pid) == {}
        assert residue.in_files(server.data) == {}
        assert certificate.count == COUNT
        assert certificate.looked_for >= 6 * COUNT
        assert len(certificate.searched) == 2
        assert client.server_info().erasure == certificate.erasure == "files+memory"
        assert album.info().count == 90
        assert album.info().calibration is None
        assert album.undo(pruned.operation) == 0


@LINUX
@pytest.mark.parametrize("originals", ["ram", "disk"])
def test_nothing_is_left_of_codes_but_those_that_entries_that_stay_have_too(
    start: Start, originals: str
) -> None:
    server, rng = start(None, "--originals", originals), np.random.default_rng(5)
    vectors = unit_rows(rng.standard_normal((90, 256)).astype(np.float32))
    nearly = unit_rows(vectors[:9] + np.float32(1e-8) * rng.standard_normal((9, 256), np.float32))
    planes = Planes(256)
    kinds = ("turned", "upper", "lower")
    traces = [*planes.traces(vectors[60:])]
    residue = Residue({f"{kinds[at % 3]} {at // 3}": each for at, each in enumerate(traces)})
    with visual_memory.connect(server.address) as client:
        pets = client.create_memory("pets", dimension=256)
        for number, row in enumerate(np.concatenate([vectors, nearly])):
            pets.insert(vectors=row[np.newaxis], labels=["cat"], ids=[f"{number}"])
        before = residue.in_process(server.process.pid)
        in_files = residue.in_files(server.data)

        certificate = pets.unlearn([f"{number}" for number in range(60, 99)])

        assert residue.in_process(server.process.pid) == {}
        assert residue.in_files(server.data) == {}
        kept = set() if originals == "ram" else {"upper", "lower"}
        assert {name.split()[0] for name in in_files} == kept
        assert {name.split()[0] for name in before} >= {"lower"}
        assert len(certificate.searched) == 2
        assert not certificate.also_in
        assert certificate.looked_for == 39 * (1 + len(kinds))
        assert pets.info().count == 60


@LINUX
def test_an_id_is_not_found_across_two_that_stay(client: Client, server: Server) -> None:
    """The end of 000008 and the beginning of 000009 read like 000080."""
    ids = [f"{number:026}" for number in range(2000)]
    pets = client.create_memory("pets", dimension=4)
    pets.insert(vectors=np.ones((2000, 4)), labels=["cat"] * 2000, ids=ids)

    certificate = pets.unlearn(ids[::16])

    assert len(certificate.searched) == 2
    assert not [event for event in events_of(server, certificate.operation) if event == "erasing"]


@LINUX
@pytest.mark.parametrize("apply", [False, True], ids=["dry run", "applied"])
def test_the_same_call_again_meanwhile_holds_nothing_that_is_found(
    client: Client, album: Memory, server: Server, apply: bool
) -> None:
    ids = person_ids()
    insert_people(album, ids)
    begun = album.unlearn(ids, wait=False, request_id="once")
    for _ in range(SECONDS * 100):
        if "erased from files" in events_of(server, begun.name):
            break
        time.sleep(0.01)

    with visual_memory.connect(server.address) as other:
        if apply:
            again = other.memory("album").unlearn(ids, request_id="once")
        else:
            other.memory("album").unlearn(ids, dry_run=True, allow_missing=True)
            other.wait(begun.name)
            again = other.certificate(begun.name)

    assert events_of(server, begun.name).count("erasing") <= 2
    assert len(again.searched) == 2
    assert client.certificate(begun.name) == again


def events_of(server: Server, operation: str) -> list[str]:
    """Return the names of the events that a server has logged of an operation."""
    lines = [json.loads(line) for line in server.log().splitlines() if operation in line]
    return [line["event"] for line in lines]


def test_from_files_alone_the_process_is_neither_searched_nor_are_connections_renewed(
    start: Start,
) -> None:
    server, ids = start(None, "--erasure", "files"), person_ids()
    states = watched(server)
    with visual_memory.connect(server.address) as client:
        album = new_album(client)
        insert_people(album, ids)
        residue = Residue(secrets_of(album, ids))
        assert len(residue.in_files(server.data)) > 5 * COUNT

        certificate = album.unlearn(ids)

        assert residue.in_files(server.data) == {}
        assert client.server_info().erasure == certificate.erasure == "files"
        assert [each.where for each in certificate.searched] == [ALL_FILES]
        assert certificate.looked_for >= 6 * COUNT
        assert ONLY_FILES in certificate.not_covered
        assert not any("overwritten when they are freed" in s for s in certificate.not_covered)
        assert client.verify(certificate).erasure == "files"
        assert "erased from memory" not in server.log()
    assert states.empty()


def watched(server: Server) -> queue.Queue[str]:
    """Watch the health of a server; return the queue of its states, with "ended" at the end."""
    states: queue.Queue[str] = queue.Queue()
    stream = health_pb2_grpc.HealthStub(server.channel).Watch(health_pb2.HealthCheckRequest())

    def read() -> None:
        with suppress(grpc.RpcError):
            for state in stream:
                states.put(str(state).strip())
        states.put("ended")

    threading.Thread(target=read, daemon=True).start()
    assert states.get(timeout=SECONDS) == "status: SERVING"
    return states


def test_a_label_that_others_have_stays(album: Memory) -> None:
    album.insert(vectors=rows(2), labels=["a shared label of many", "x" * 20], ids=["one", "two"])
    album.insert(vectors=rows(1), labels=["a shared label of many"], ids=["three"])

    certificate = album.unlearn(["one", "two"])

    assert certificate.count == 2
    assert album.info().labels["a shared label of many"] == 1


def test_a_twin_that_stays_is_no_trace(album: Memory) -> None:
    vector, picture = rows(1), to_picture(77)
    album.insert(vectors=vector, images=[picture], labels=["cat"], ids=["a twin that goes"])
    album.insert(vectors=vector, images=[picture], labels=["cat"], ids=["a twin that goes not"])

    certificate = album.unlearn(["a twin that goes"])

    assert certificate.count == 1
    assert album.get("a twin that goes not", include_image=True).image == picture


@LINUX
def test_words_of_the_program_itself_are_no_traces(client: Client, album: Memory) -> None:
    word = {"content_type": "image/svg+xml"}
    album.insert(vectors=rows(1), labels=["cat"], ids=["an id of its own"], metadata=[word])

    certificate = album.unlearn(["an id of its own"])

    assert len(certificate.searched) == 2
    assert any("words of the program" in each for each in certificate.not_covered)


@LINUX
def test_what_a_server_is_started_with_is_no_trace(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OF_THE_SERVER", "a word of the environment")
    Path("server.toml").write_text('reranker = ["a-name-of-its-own=127.0.0.1:1"]')
    server = start(Path("data"), "--config", "server.toml")
    words = ["a word of the environment", "OF_THE_SERVER", "a-name-of-its-own"]
    ids = [str(tmp_path / "data"), *words]
    with visual_memory.connect(server.address) as client:
        album = client.create_memory("album", dimension=32)
        album.insert(vectors=rows(len(ids)), labels=["cat"] * len(ids), ids=ids)

        certificate = album.unlearn(ids)

    assert len(certificate.searched) == 2


@LINUX
def test_what_copies_hold_is_no_trace(client: Client, album: Memory) -> None:
    ids = person_ids(20)
    insert_people(album, ids)
    for name, gone in (("twin", ids[:10]), ("other-twin", ids[10:])):
        client.copy("album", name)
        client.memory(name).delete(gone)

    certificate = album.unlearn(ids)

    assert [place.where for place in certificate.searched][1:]
    assert not any("found again and again" in text for text in certificate.not_covered)
    assert client.memory("twin").info().count == 100


@LINUX
@pytest.mark.parametrize("made", ["copied", "inserted"])
def test_what_another_memory_held_and_deleted_is_found_nowhere(
    client: Client, album: Memory, made: str
) -> None:
    ids = person_ids(5)
    insert_people(album, ids)
    if made == "copied":
        client.copy("album", "twin")
    else:
        twin = client.create_memory("twin", dimension=32, store_images=True)
        insert_same(twin, album.entries(include_vectors=True, include_images=True))
    twin = client.memory("twin")
    assert len(list(twin.entries(include_vectors=True, include_images=True))) == 95
    twin.delete(ids)

    certificate = album.unlearn(ids)

    assert len(certificate.searched) == 2
    assert not any("found again and again" in text for text in certificate.not_covered)


@LINUX
def test_nothing_is_left_on_the_stack_where_functions_are_called_for_the_first_time(
    start: Start,
) -> None:
    """To find a function at its first call, glibc would write the registers to the stack."""
    server, ids = start(), person_ids(5)
    with visual_memory.connect(server.address) as client:
        album = new_album(client)
        insert_people(album, ids)
        client.copy("album", "twin")  # the copy's vectors are read, and read ahead
        client.memory("twin").delete(ids)

        certificate = album.unlearn(ids)

    assert len(certificate.searched) == 2


@LINUX
@pytest.mark.parametrize("count", [600, 700])  # rows of one block that BLAS packs, on some machines
def test_nothing_is_left_where_rows_were_packed_to_be_multiplied(
    client: Client, count: int
) -> None:
    memory = client.create_memory("packed", dimension=128)
    vectors = np.random.default_rng(count).normal(size=(count, 128))
    ids = [f"row {number}" for number in range(count)]
    memory.insert(vectors=vectors, labels=["cat", "dog"] * (count // 2), ids=ids)
    memory.prune(method="ids", ids=["row 4"], apply=True)

    certificate = memory.unlearn([ids[-1]])

    assert len(certificate.searched) == 2
    assert not any("found again and again" in text for text in certificate.not_covered)


@LINUX
def test_nothing_is_left_of_what_was_classified_in_a_thread(client: Client) -> None:
    memory = client.create_memory("many", dimension=32)
    vectors = rows(5000)  # so many that no search is done at once
    ids = [f"row {number}" for number in range(len(vectors))]
    memory.insert(vectors=vectors, labels=["cat"] * len(ids), ids=ids)
    memory.classify(vectors=vectors[:1])

    certificate = memory.unlearn(ids[:1])

    assert len(certificate.searched) == 2


@LINUX
def test_not_even_short_pieces_are_left_on_the_stack(client: Client, server: Server) -> None:
    memory = client.create_memory("few", dimension=768)
    ids = [f"row {number}" for number in range(300)]
    vectors = np.random.default_rng(1).normal(size=(300, 768))
    memory.insert(vectors=vectors, labels=["cat", "dog"] * 150, ids=ids)
    vector = memory.get(ids[-1], include_vector=True).vector
    assert vector is not None
    data = vector.tobytes()
    pieces = Residue({f"{at}": data[at : at + 8] for at in range(len(data) - 7)})

    memory.unlearn(ids[-1:])

    found = pieces.in_process(server.process.pid)
    assert len(found) < 5  # where the stack is not overwritten there are ten
