"""A memory is embedded anew while it serves, and nothing else of it changes."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.conftest import Server
from tests.service.slow import write_network

import visual_memory
from visual_memory import Client, Memory

if TYPE_CHECKING:
    from tests.service.conftest import Run

COUNT, SLOW_SECONDS = 160, 0.01
FLAGS = ("--allow-embedder", "onnx:*")
SECONDS = 60.0


def picture(seed: int) -> bytes:
    shade = np.random.default_rng(seed).integers(256, size=3)
    data = BytesIO()
    Image.new("RGB", (8, 8), tuple(map(int, shade))).save(data, "PNG")
    return data.getvalue()


PICTURES = [picture(seed) for seed in range(COUNT)]
IDS = [f"picture {number:03}" for number in range(COUNT)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "data", *FLAGS)
    yield server
    if server.process.poll() is None:
        server.end(signal.SIGKILL)


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with visual_memory.connect(server.address) as client:
        yield client


@pytest.fixture
def pets(client: Client, tmp_path: Path) -> Memory:
    """A memory with pictures, of which some are pruned and some relabelled."""
    quick = write_network(tmp_path / "quick.onnx")
    pets = client.create_memory("pets", embedder=quick, store_images=True)
    labels = [f"label {number % 5}" for number in range(COUNT)]
    metadata = [{"number": str(number)} for number in range(COUNT)]
    pets.insert(images=PICTURES, labels=labels, ids=IDS, metadata=metadata, request_id="first")
    pets.prune(method="ids", ids=IDS[:3], apply=True)
    pets.relabel({IDS[5]: "another"}, apply=True)
    return pets


def slow(tmp_path: Path) -> str:
    """Return the name of an embedder that takes a second and a half for all pictures."""
    return write_network(tmp_path / "slow.onnx", SLOW_SECONDS)


def entries(memory: Memory) -> list[Any]:
    """Return all of the entries but their vectors; operations are without the memory's name."""
    return [
        replace(entry, pruned_by=entry.pruned_by.rpartition("/")[2]) for entry in memory.entries()
    ]


def vectors(memory: Memory) -> NDArray[np.float32]:
    return np.array([memory.get(id, include_vector=True).vector for id in IDS])


def embedder_of(memory: Memory) -> str:
    spec = memory.info().embedder
    assert spec is not None
    return spec.name


def begun(memory: Memory, embedder: str, **options: Any) -> str:
    """Begin to re-embed, wait until some of it is done, and return the operation's name."""
    operation = memory.reembed(embedder, former_name="before", wait=False, **options)
    while memory._client.operation(operation.name).done < COUNT // 4:
        threading.Event().wait(0.01)
    return operation.name


def test_a_memory_has_new_vectors_and_a_copy_the_former_ones(
    pets: Memory, client: Client, tmp_path: Path
) -> None:
    before, info, was = entries(pets), pets.info(), vectors(pets)
    other = write_network(tmp_path / "other.onnx", 0.0001)

    reports = list[tuple[int, int]]()

    done = pets.reembed(
        other, former_name="before", progress=lambda *report: reports.append(report)
    )

    assert reports == sorted(reports)
    assert reports[-1][0] <= reports[-1][1] <= COUNT
    assert (done.embedder, done.count, done.former_name) == (other, COUNT, "before")
    assert client.operation(done.operation).state == "done"
    assert entries(pets) == before
    assert embedder_of(pets) == other
    assert pets.info().digest != info.digest
    assert (pets.info().labels, pets.info().pruned_count) == (info.labels, 3)
    np.testing.assert_array_equal(vectors(pets), pets.embed(PICTURES))
    former = client.memory("before")
    assert former.info().digest == info.digest
    np.testing.assert_array_equal(vectors(former), was)
    pets.check()
    pets.verify_audit_log()
    assert [event.call for event in pets.audit_events()][-1] == "ReembedMemory"


def test_operations_and_answers_to_requests_stay(pets: Memory, tmp_path: Path) -> None:
    (prune,) = [each for each in pets._client.operations("pets") if each.kind == "prune"]
    pets.reembed(write_network(tmp_path / "other.onnx", 0.0001), former_name="before")

    labels = [f"label {number % 5}" for number in range(COUNT)]
    metadata = [{"number": str(number)} for number in range(COUNT)]
    again = pets.insert(
        images=PICTURES, labels=labels, ids=IDS, metadata=metadata, request_id="first"
    )
    undone = pets.undo(prune.name)

    assert list(again.ids) == IDS
    assert undone == 3
    assert pets.info().pruned_count == 0


def test_it_serves_and_takes_writes_meanwhile_and_goes_on_after_a_kill(
    server: Server, pets: Memory, tmp_path: Path
) -> None:
    embedder, killed = slow(tmp_path), tmp_path / "killed"
    name = begun(pets, embedder)
    assert pets.classify(images=PICTURES[7:8], k=1)[0].neighbors[0].id == IDS[7]
    pets.insert(images=[picture(999)], labels=["new"], ids=["new"])
    pets.delete([IDS[9]])
    server.restart(*FLAGS, number=signal.SIGKILL)
    killed.touch()

    with visual_memory.connect(server.address) as client:
        again = client.memory("pets")
        assert embedder_of(again) != embedder
        done = client.wait(name)

        assert (done.state, done.result.count) == ("done", COUNT)  # type: ignore[union-attr]
        ids = {entry.id for entry in again.entries()}
        assert ids == {*IDS, "new"} - {IDS[9]}
        vector = again.get("new", include_vector=True).vector
        np.testing.assert_array_equal(vector, again.embed([picture(999)])[0])
        assert {entry.id for entry in client.memory("before").entries()} == ids
        again.check()
    assert server.end() == 0
    assert len(list((server.data / "memories").glob("*.sqlite"))) == 2


@pytest.mark.parametrize("milliseconds", range(0, 160, 20))
def test_a_kill_while_it_is_replaced_loses_nothing(
    server: Server, pets: Memory, tmp_path: Path, milliseconds: int
) -> None:
    digest, before = pets.info().digest, entries(pets)
    other = write_network(tmp_path / "other.onnx", 0.0001)
    name = pets.reembed(other, former_name="before", wait=False).name
    while (found := pets._client.operation(name)).state == "running" and found.done < 128:
        pass
    threading.Event().wait(milliseconds / 1000)
    server.restart(*FLAGS, number=signal.SIGKILL)

    with visual_memory.connect(server.address) as client:
        done = client.wait(name)
        again, former = client.memory("pets"), client.memory("before")
        assert done.state == "done"
        assert entries(again) == before == entries(former)
        assert (embedder_of(again), former.info().digest) == (other, digest)
        again.check()
        former.check()
    assert server.end() == 0
    assert len(list((server.data / "memories").glob("*.sqlite"))) == 2


@pytest.mark.parametrize("pause", [0.3, 0.0], ids=["some writes", "writes without end"])
def test_no_write_is_lost_while_it_is_replaced(
    server: Server, pets: Memory, tmp_path: Path, pause: float
) -> None:
    over, written = threading.Event(), list[str]()

    def write() -> None:
        with visual_memory.connect(server.address) as client:
            memory = client.memory("pets")
            while not over.is_set():
                id = f"written {len(written)}"
                memory.insert(images=[PICTURES[0]], labels=["cat"], ids=[id])
                written.append(id)
                over.wait(pause)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        pets.reembed(write_network(tmp_path / "other.onnx", 0.0001), former_name="before")
    finally:
        over.set()
        thread.join()

    assert set(written) <= {entry.id for entry in pets.entries()}
    pets.check()


@pytest.mark.parametrize("waits", [False, True], ids=["while it embeds", "while it is copied"])
def test_one_that_is_cancelled_changes_nothing(
    pets: Memory, client: Client, tmp_path: Path, waits: bool
) -> None:
    info = pets.info()
    embedder = write_network(tmp_path / "other.onnx", 0.0001) if waits else slow(tmp_path)
    name = pets.reembed(embedder, former_name="before", wait=False).name
    while client.operation(name).done < (128 if waits else COUNT // 4):
        pass

    client.cancel(name)

    assert client.wait(name).state == "cancelled"
    assert replace(pets.info(), disk_bytes=0) == replace(info, disk_bytes=0)
    assert [each.name for each in client.memories()] == ["pets"]


def test_an_unlearning_comes_first_and_it_goes_on(
    pets: Memory, client: Client, tmp_path: Path
) -> None:
    name = begun(pets, slow(tmp_path))

    certificate = pets.unlearn([IDS[20]])
    done = client.wait(name)

    assert certificate.holds(IDS[20])
    assert (done.state, done.result.count) == ("done", COUNT - 1)  # type: ignore[union-attr]
    assert IDS[20] not in {entry.id for entry in pets.entries()}


def test_a_second_one_is_refused_and_the_same_request_is_the_first(
    pets: Memory, client: Client, tmp_path: Path
) -> None:
    embedder = slow(tmp_path)
    name = begun(pets, embedder, request_id="once")

    with pytest.raises(visual_memory.FailedPrecondition, match=name):
        pets.reembed(embedder, former_name="another")
    again = pets.reembed(embedder, former_name="before", request_id="once", wait=False)

    assert again.name == name
    assert client.wait(name).state == "done"


def test_of_two_that_begin_at_once_one_is_refused(
    server: Server, pets: Memory, tmp_path: Path
) -> None:
    embedder = slow(tmp_path)

    def begin(number: int) -> str:
        with visual_memory.connect(server.address) as client:
            memory, former = client.memory("pets"), f"before-{number}"
            try:
                return memory.reembed(embedder, former_name=former, wait=False).name
            except visual_memory.FailedPrecondition as refused:
                return refused.reason

    with ThreadPoolExecutor(4) as threads:
        begun = list(threads.map(begin, range(4)))

    assert begun.count("BEING_REEMBEDDED") == 3
    (name,) = {*begun} - {"BEING_REEMBEDDED"}
    assert pets._client.wait(name).state == "done"


def test_operations_that_begin_meanwhile_are_found_afterwards(
    server: Server, pets: Memory, client: Client, tmp_path: Path
) -> None:
    other, over = write_network(tmp_path / "other.onnx", 0.0001), threading.Event()
    names = list[str]()

    def check() -> None:
        with visual_memory.connect(server.address) as client:
            while not over.is_set():
                names.append(client.memory("pets").check(wait=False).name)
                over.wait(0.05)

    thread = threading.Thread(target=check)
    thread.start()
    try:
        pets.reembed(other, former_name="before")
    finally:
        over.set()
        thread.join()

    assert embedder_of(pets) == other
    assert {client.wait(name).state for name in names} <= {"done", "failed"}


def test_a_label_like_its_former_name_may_be_erased_meanwhile(
    pets: Memory, client: Client, tmp_path: Path
) -> None:
    pets.update(IDS[30], label="before")
    name = begun(pets, slow(tmp_path))

    pets.unlearn([IDS[30]])

    assert client.wait(name).state == "done"


def test_a_name_that_is_taken_meanwhile_ends_it_and_leaves_nothing(
    server: Server, pets: Memory, client: Client, tmp_path: Path
) -> None:
    name = begun(pets, slow(tmp_path))

    client.create_memory("before", dimension=2)

    assert "exists already" in client.wait(name).problem
    server.end()
    (file,) = (server.data / "memories").glob("pets.*.sqlite")
    with closing(sqlite3.connect(file)) as db:
        assert db.execute("SELECT count(*) FROM derived").fetchone() == (0,)


def test_its_time_of_beginning_stays_and_a_tuning_before_it_is_not_undone(
    pets: Memory, client: Client, tmp_path: Path
) -> None:
    tuned = pets.tune(apply=True, wait=False)
    client.wait(tuned.name)
    began = pets.reembed(slow(tmp_path), former_name="before", wait=False)

    client.wait(began.name)

    ended = client.operation(began.name)
    assert ended.create_time == began.create_time
    assert ended.end_time is not None
    assert ended.create_time is not None
    assert (ended.end_time - ended.create_time).total_seconds() > COUNT * SLOW_SECONDS / 4
    with pytest.raises(visual_memory.FailedPrecondition, match="its rule went when the memory was"):
        pets.undo(tuned.name)
    pets.tune(apply=True)
    with pytest.raises(visual_memory.FailedPrecondition, match="its rule went when the memory was"):
        pets.undo(tuned.name)
    with pytest.raises(
        visual_memory.FailedPrecondition, match="a copy of the memory with the form"
    ):
        pets.undo(began.name)


def test_its_own_name_and_a_memory_of_vectors_are_refused(
    pets: Memory, client: Client, tmp_path: Path
) -> None:
    other = write_network(tmp_path / "other.onnx", 0.0001)
    plain = client.create_memory("plain", dimension=3)

    with pytest.raises(visual_memory.InvalidArgument, match="former_name must be another name"):
        pets.reembed(other, former_name="pets")
    with pytest.raises(visual_memory.FailedPrecondition, match="was made with a dimension"):
        plain.reembed(other, former_name="before")


def test_interrupted_it_names_the_operation_that_goes_on(
    server: Server, pets: Memory, client: Client, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "visual_memory_service", "reembed", "pets", "before"]
    with subprocess.Popen(
        [*command, "--embedder", slow(tmp_path), "--server", server.address],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while not any(each.kind == "reembed" for each in client.operations("pets")):
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=SECONDS)[1]

    (began,) = [each for each in client.operations("pets") if each.kind == "reembed"]
    assert process.returncode == 130
    assert f"visual-memory operations wait {began.name}; to stop it, cancel" in said


def test_a_command_whose_server_ends_says_that_it_goes_on(
    server: Server, pets: Memory, client: Client, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "visual_memory_service", "reembed", "pets", "before"]
    asked = ["--embedder", slow(tmp_path), "--server", server.address, "--timeout", "2"]
    with subprocess.Popen([*command, *asked], stderr=subprocess.PIPE, text=True) as process:
        while not any(each.kind == "reembed" for each in client.operations("pets")):
            time.sleep(0.05)
        server.end(signal.SIGKILL)
        said = process.communicate(timeout=SECONDS)[1]

    assert process.returncode == 1
    assert "it goes on with the next server, see: visual-memory operations --memory pets" in said


def test_a_command_tells_where_both_are(
    server: Server, pets: Memory, tmp_path: Path, command: Run
) -> None:
    other = write_network(tmp_path / "other.onnx", 0.0001)

    done = command("reembed", pets.name, "before", "--embedder", other, "--server", server.address)

    assert (done.returncode, done.stdout.splitlines()) == (
        0,
        [f"pets has vectors of {other}: {COUNT} entries.", "before has the former ones."],
    )


def test_entries_without_a_picture_are_named(client: Client, tmp_path: Path) -> None:
    quick = write_network(tmp_path / "quick.onnx")
    bare = client.create_memory("bare", embedder=quick)
    bare.insert(images=PICTURES[:2], labels=["a", "b"], ids=["x", "y"])

    with pytest.raises(
        visual_memory.FailedPrecondition, match="no picture is stored, such as x, y"
    ):
        bare.reembed(write_network(tmp_path / "other.onnx", 0.0001), former_name="before")


def test_a_picture_that_cannot_be_embedded_any_more_is_named(
    server: Server, pets: Memory, tmp_path: Path
) -> None:
    config = tmp_path / "server.toml"
    config.write_text("image_pixels_max = 16\n")
    server.restart(*FLAGS, "--config", str(config))

    with visual_memory.connect(server.address) as client:
        with pytest.raises(visual_memory.FailedPrecondition, match=f'The picture of "{IDS[0]}" '):
            client.memory("pets").reembed(write_network(tmp_path / "other.onnx"), former_name="x")

        assert [each.name for each in client.memories()] == ["pets"]


def test_a_name_that_is_taken_is_refused(pets: Memory, client: Client, tmp_path: Path) -> None:
    client.create_memory("before", dimension=2)

    with pytest.raises(visual_memory.AlreadyExists, match="before"):
        pets.reembed(write_network(tmp_path / "other.onnx", 0.0001), former_name="before")
