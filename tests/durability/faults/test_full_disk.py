"""A small file system that fills up: writes are refused, reads go on, and room is all it needs."""

from __future__ import annotations

import random
import shutil
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest
from tests.conftest import Server
from tests.conftest import refusal as refusal_of
from tests.durability.faults.test_faults import KINDS, UNSOUND
from tests.durability.ledger.contents import of_folder, of_server
from tests.durability.ledger.ledger import judge
from tests.durability.ledger.workload import OperationFailed, Writer, create_shared
from tests.sealing import alter

import visual_memory
from visual_memory import errors
from visual_memory.v1 import service_pb2 as pb

if TYPE_CHECKING:
    from tests.conftest import Start
    from tests.index.conftest import SmallDisk

IDS = [f"{number}" for number in range(300)]
SOUND = [kind for kind in KINDS if kind not in UNSOUND]


def refusal(writer: Writer, kind: str) -> str:
    """Make a write; return the reason of its refusal, empty if it succeeded."""
    try:
        writer.do(kind)
    except grpc.RpcError as error:
        return errors.from_rpc(error, "the server").reason
    except OperationFailed as failure:
        return str(failure)
    return ""


def until_full(writer: Writer, kind: str = "insert") -> str:
    """Write until a write is refused; return the reason. Smaller writes may still succeed."""
    while not (refused := refusal(writer, kind)):
        pass
    return refused


def test_a_disk_that_fills_up_refuses_writes_until_there_is_room(
    start: Start, small_disk: SmallDisk
) -> None:
    server = start(small_disk.folder / "data")
    create_shared(server.stub)
    writer = Writer("w", random.Random(random.random()))
    writer.connect(server.address)
    for kind in [*SOUND, *["insert"] * 5]:
        if flight := writer.prepare(kind):
            writer.send(flight)

    for _ in range(3):
        small_disk.fill()
        refused_first = until_full(writer)
        refused = {
            kind: until_full(writer, kind) for kind in ("insert", "import", "update", "relabel")
        }
        full = judge(of_server(server.stub), [writer.ledger])
        small_disk.make_room(1_000_000)  # each of these takes up to 200 KB of the log
        freed = {kind: refusal(writer, kind) for kind in ("insert", "delete", "relabel")}

        assert refused_first == "DISK_FULL"
        assert set(refused.values()) == {"DISK_FULL"}
        assert set(freed.values()) == {""}
        assert full == judge(of_server(server.stub), [writer.ledger]) == []

    writer.ledger.killed()
    server.restart(number=signal.SIGKILL)
    assert judge(of_server(server.stub), [writer.ledger]) == []
    writer.close()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a server whose memory "pets" is so large that an erasure needs room."""
    server = Server(tmp_path_factory.mktemp("prepared") / "data")
    rows = np.random.default_rng(0).standard_normal((len(IDS), 768), np.float32)
    with visual_memory.connect(server.address) as client:
        pets = client.create_memory("pets", dimension=768)
        pets.insert(vectors=rows, labels=IDS, ids=IDS)
    assert server.end() == 0
    return server.data


@pytest.fixture
def served(prepared: Path, start: Start, small_disk: SmallDisk) -> Server:
    """A server of a copy of the prepared folder; it makes a reserve that suits the small disk."""
    without = shutil.ignore_patterns("reserve")
    return start(Path(shutil.copytree(prepared, small_disk.folder / "data", ignore=without)))


def use_up_reserve(server: Server, small_disk: SmallDisk) -> None:
    """Fill the disk, after removing the reserve, as concurrent deletions may."""
    (server.data / "reserve").unlink()
    small_disk.fill()


def state_in_the_end(client: visual_memory.Client, operation: str) -> str:
    """Return the state of an operation that waited for room, once it does not run any more."""
    end = time.monotonic() + 30
    while (state := client.operation(operation).state) == "running":
        assert time.monotonic() < end, "nobody works on it"
        time.sleep(0.02)
    return state


def test_on_a_full_disk_entries_are_deleted_and_unlearned_nevertheless(
    served: Server, small_disk: SmallDisk
) -> None:
    with visual_memory.connect(served.address) as client:
        pets = client.memory("pets")
        small_disk.fill()
        with visual_memory.connect(served.address, timeout=2) as hasty:
            refused = hasty.memory("pets")
            with pytest.raises(visual_memory.Error, match="make room"):
                refused.insert(vectors=np.ones((400, 768)), labels=["x"] * 400, atomic=True)

        assert pets.delete(ids=["0"]) == 1
        assert pets.purge(filter="id = 1 OR id = 2", apply=True).count == 2
        certificate = pets.unlearn(["3", "4"])

        assert certificate.count == 2
        assert visual_memory.verify(certificate).count == 2
        assert pets.info().count == len(IDS) - 5
    served.restart(number=signal.SIGKILL)
    with visual_memory.connect(served.address) as client:
        assert client.memory("pets").info().count == len(IDS) - 5
        small_disk.make_room(3_000_000)
        client.memory("pets").unlearn(["5"])
    assert (served.data / "reserve").stat().st_size > 100_000


def test_a_memory_can_be_dropped_on_a_full_disk(served: Server, small_disk: SmallDisk) -> None:
    with visual_memory.connect(served.address) as client:
        small_disk.fill()

        client.delete_memory("pets")

        assert client.memories() == []
        assert list((served.data / "memories").iterdir()) == []


def test_an_erasure_waits_for_room_and_says_so(served: Server, small_disk: SmallDisk) -> None:
    with visual_memory.connect(served.address) as client:
        pets = client.memory("pets")
        use_up_reserve(served, small_disk)
        small_disk.make_room(200_000)

        with pytest.raises(visual_memory.FailedPrecondition, match="make room on the disk") as full:
            pets.unlearn(IDS[:200])
        (operation,) = [each for each in client.operations("pets") if each.kind == "unlearn"]
        assert f'"{operation.name}" goes on as soon as it can' in str(full.value)
        with pytest.raises(visual_memory.FailedPrecondition):
            client.certificate(operation.name)
        small_disk.make_room(3_000_000)
        assert state_in_the_end(client, operation.name) == "done"

        certificate = client.certificate(operation.name)
        assert certificate.count == 200
        assert pets.info().count == 100
        assert visual_memory.verify(certificate).count == 200


def test_an_erasure_goes_on_where_the_disk_refuses_to_drop_its_memory(
    served: Server, small_disk: SmallDisk
) -> None:
    with visual_memory.connect(served.address) as client:
        pets = client.memory("pets")
        use_up_reserve(served, small_disk)
        small_disk.make_room(200_000)
        with pytest.raises(visual_memory.FailedPrecondition, match="make room on the disk"):
            pets.unlearn(IDS[:200])
        (operation,) = [each for each in client.operations("pets") if each.kind == "unlearn"]
        small_disk.fill()

        refused = refusal_of(served.stub.DeleteMemory, pb.DeleteMemoryRequest(name="pets"))
        waits = client.operation(operation.name).state
        small_disk.make_room(3_000_000)
        state = state_in_the_end(client, operation.name)

        assert refused.reason == "DISK_FULL"
        assert (waits, state) == ("running", "done")
        assert client.certificate(operation.name).count == 200
        assert pets.info().count == 100
        client.delete_memory("pets")
        assert client.memories() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_server_starts_on_a_full_disk_and_frees_room_there(
    served: Server, small_disk: SmallDisk, number: signal.Signals
) -> None:
    with visual_memory.connect(served.address) as client:
        client.create_memory("dropped", dimension=768)
    small_disk.fill()
    with (
        visual_memory.connect(served.address, timeout=2) as hasty,
        pytest.raises(visual_memory.Error, match="make room"),
    ):
        hasty.memory("pets").insert(vectors=np.ones((400, 768)), labels=["x"] * 400)
    served.end(number)
    for index in (served.data / "memories").glob("*-shm"):
        index.unlink()  # so that opening each memory takes room, too
    small_disk.fill()

    served.start()

    with visual_memory.connect(served.address) as client:
        pets = client.memory("pets")
        assert sorted(each.name for each in client.memories()) == ["dropped", "pets"]
        assert pets.info().count == len(IDS)
        assert len(pets.classify(vectors=np.ones((1, 768)), k=5)) == 1
        assert pets.delete(ids=["0"]) == 1
        assert visual_memory.verify(pets.unlearn(["3", "4"])).count == 2
        client.delete_memory("dropped")
        assert pets.info().count == len(IDS) - 3


def test_a_server_does_not_start_on_a_full_disk_without_its_reserve_and_does_where_there_is_room(
    start: Start, small_disk: SmallDisk
) -> None:
    server = start(small_disk.folder / "data")
    create_shared(server.stub)
    server.end()
    use_up_reserve(server, small_disk)

    with pytest.raises(
        pytest.fail.Exception, match="make room on the disk of the server's data folder, or"
    ):
        server.start()
    small_disk.make_room(1_000_000)
    server.start()

    assert judge(of_server(server.stub), [Writer("w", random.Random()).ledger]) == []


def test_an_entry_that_a_full_disk_lost_is_seen(start: Start, small_disk: SmallDisk) -> None:
    server = start(small_disk.folder / "data")
    create_shared(server.stub)
    writer = Writer("w", random.Random(0))
    writer.connect(server.address)
    writer.do("insert")
    small_disk.fill()
    until_full(writer)
    small_disk.make_room(1_000_000)
    server.end()
    (path,) = (small_disk.folder / "data" / "memories").glob("*.sqlite")
    lose = "DELETE FROM entries WHERE key = (SELECT min(key) FROM entries)"
    alter(path, "PRAGMA foreign_keys = ON", lose)

    problems = judge(of_folder(server.data), [writer.ledger])

    assert len([each for each in problems if each.endswith("is lost")]) == 1
    writer.close()
