"""Memories come and go by name; one that is damaged harms no other."""

from __future__ import annotations

import re
import shutil
import sqlite3
import traceback
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.conftest import RemoteMemory, Server, refusal, to_vectors

import visual_memory
from visual_memory.v1 import service_pb2 as pb
from visual_memory_index import WITHOUT_ID, Catalog, Entry, Memory
from visual_memory_index.errors import CorruptStore
from visual_memory_index.store.store import new_identity
from visual_memory_service.config import Settings
from visual_memory_service.runtime.embedders import Embedders
from visual_memory_service.runtime.memories import Memories
from visual_memory_service.runtime.served_memory import ServedMemory

if TYPE_CHECKING:
    from tests.conftest import Start
    from tests.service.conftest import Run

INVALID, MISSING = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
PAGE_BYTES = 16_384
FLAGS = ("--allow-embedder", "*")
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def names(server: Server, page_size: int = 1000) -> list[str]:
    listed, token = [], ""
    while True:
        request = pb.ListMemoriesRequest(page_size=page_size, page_token=token)
        page = server.stub.ListMemories(request)
        listed += [memory.name for memory in page.memories]
        token = page.next_page_token
        if not token:
            return listed


def health(server: Server, name: str) -> Any:
    stub = health_pb2_grpc.HealthStub(server.channel)
    return stub.Check(health_pb2.HealthCheckRequest(service=f"memories/{name}")).status


def create(server: Server, name: str, *ids: str) -> RemoteMemory:
    server.stub.CreateMemory(pb.CreateMemoryRequest(name=name, dimension=4))
    memory = RemoteMemory(server, name)
    if ids:
        memory.insert(np.ones((len(ids), 4)), ids)
    return memory


def file_of(server: Server, name: str) -> Path:
    (file,) = (server.data / "memories").glob(f"{name}.*.sqlite")
    return file


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server, of all embedders, for tests that look at all of its memories."""
    server = Server(tmp_path_factory.mktemp("standing") / "data", *FLAGS)
    yield server
    assert server.end() == 0


@pytest.fixture
def emptied(standing: Server) -> Iterator[Server]:
    """That server; all memories are deleted after the test."""
    yield standing
    for name in names(standing):
        standing.stub.DeleteMemory(pb.DeleteMemoryRequest(name=name))


def test_a_memory_is_answered_as_it_stands(pets: RemoteMemory) -> None:
    memory = pets.stub.GetMemory(pb.GetMemoryRequest(name=pets.name))

    assert (memory.name, memory.dimension, memory.count) == (pets.name, 4, 3)
    assert [(each.label, each.count) for each in memory.labels] == [("cat", 2), ("dog", 1)]
    assert not memory.HasField("embedder")
    assert memory.disk_bytes > 0


def test_an_embedder_is_told_with_its_weights(album: RemoteMemory) -> None:
    memory = album.stub.GetMemory(pb.GetMemoryRequest(name=album.name))

    assert (memory.embedder.name, memory.embedder.dimension) == ("efficientnet-lite0", 1280)
    assert memory.embedder.weights_sha256.startswith("579344248a93e230")
    assert memory.embedder.bit_equal
    assert '"crop": [224, 224]' in memory.embedder.preprocessing


def test_names_are_like_this(emptied: Server) -> None:
    wanted = ["0", "a", "a.b-c_d", "x" * 63]
    for name in wanted:
        create(emptied, name)

    emptied.restart(*FLAGS)

    assert names(emptied) == wanted


@pytest.mark.parametrize(
    "name", ["", "A", "-a", ".a", "_a", "a b", "a/b", "é", "x" * 64, "../a", "a\n", "a\0"]
)
def test_a_name_may_not_be_like_this(server: Server, name: str) -> None:
    before = names(server)

    error = refusal(server.stub.CreateMemory, pb.CreateMemoryRequest(name=name, dimension=4))

    assert (error.code, error.field_violations[0][0]) == (INVALID, "name")
    assert "1 to 63 of a-z" in error.message
    assert names(server) == before


@pytest.mark.parametrize(
    ("content", "field", "says"),
    [
        ({}, "embedder", "or dimension must be given"),
        ({"dimension": 0}, "dimension", "1 to 16384, but is 0"),
        ({"dimension": -1}, "dimension", "-1"),
        ({"dimension": 16_385}, "dimension", "16385"),
        ({"embedder": ""}, "embedder", "1 to 256"),
        ({"embedder": "resnet"}, "embedder", "-lite1 and -lite2 need its extra lite"),
        ({"embedder": "onnx:/etc/passwd"}, "embedder", "--allow-embedder PATTERN"),
        ({"embedder": "timm:x"}, "embedder", '"timm:x"'),
        ({"embedder": "open-clip:ViT-B-32/openai"}, "embedder", "open-clip"),
        ({"embedder": "efficientnet-lite*"}, "embedder", "lite*"),
    ],
)
def test_a_memory_of_no_kind_is_refused(
    server: Server, content: dict[str, Any], field: str, says: str
) -> None:
    before = names(server)

    error = refusal(server.stub.CreateMemory, pb.CreateMemoryRequest(name="new", **content))

    assert (error.code, error.field_violations[0][0]) == (INVALID, field)
    assert says in error.message
    assert names(server) == before


def test_no_call_makes_the_server_open_a_path(server: Server, start: Start, tmp_path: Path) -> None:
    network = tmp_path / "network.onnx"
    network.write_bytes(b"not a network")

    refused = server.stub.CreateMemory
    error = refusal(refused, pb.CreateMemoryRequest(name="new", embedder=f"onnx:{network}"))
    assert "new" not in names(server)
    server = start(None, "--allow-embedder", f"onnx:{network}")
    allowed = refusal(
        server.stub.CreateMemory, pb.CreateMemoryRequest(name="new", embedder=f"onnx:{network}")
    )

    assert (error.reason, error.code) == ("EMBEDDER_NOT_ALLOWED", INVALID)
    assert allowed.code is grpc.StatusCode.FAILED_PRECONDITION
    assert "Traceback" not in allowed.message
    assert names(server) == []


def test_an_embedder_that_is_allowed_but_unknown_is_not_found(emptied: Server) -> None:
    for name in ("nothing", "other:x", "onnx:"):
        request = pb.CreateMemoryRequest(name="new", embedder=name)
        assert refusal(emptied.stub.CreateMemory, request).code is MISSING
    assert names(emptied) == []


def test_a_name_that_is_taken_is_refused(pets: RemoteMemory) -> None:
    before = pets.stored()

    error = refusal(pets.stub.CreateMemory, pb.CreateMemoryRequest(name=pets.name, dimension=7))

    assert (error.code, error.reason) == (grpc.StatusCode.ALREADY_EXISTS, "MEMORY_EXISTS")
    assert f'"{pets.name}"' in error.message
    assert pets.stored() == before


def test_memories_are_listed_by_name_page_by_page(emptied: Server) -> None:
    for name in ("c", "a", "e", "b", "d"):
        create(emptied, name)

    assert names(emptied, page_size=2) == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.ListMemoriesRequest(page_size=1001), "page_size"),
        (pb.ListMemoriesRequest(page_size=-1), "page_size"),
        (pb.ListMemoriesRequest(page_token="?"), "page_token"),
    ],
)
def test_a_page_that_cannot_be_is_refused(
    server: Server, request_: pb.ListMemoriesRequest, field: str
) -> None:
    error = refusal(server.stub.ListMemories, request_)

    assert (error.code, error.field_violations[0][0]) == (INVALID, field)


def test_a_dropped_memory_is_gone_with_its_file(emptied: Server) -> None:
    create(emptied, "pets", "a")
    file = file_of(emptied, "pets")

    emptied.stub.DeleteMemory(pb.DeleteMemoryRequest(name="pets"))

    assert names(emptied) == []
    assert not list(file.parent.iterdir())
    error = refusal(emptied.stub.GetMemory, pb.GetMemoryRequest(name="pets"))
    assert (error.code, error.reason) == (MISSING, "UNKNOWN_MEMORY")
    assert health(emptied, "pets") == NOT_SERVING


def test_a_name_can_be_used_again(emptied: Server) -> None:
    create(emptied, "pets", "a")
    emptied.stub.DeleteMemory(pb.DeleteMemoryRequest(name="pets"))

    again = create(emptied, "pets", "b")
    emptied.restart(*FLAGS)

    assert again.ids() == ["b"]


def test_dropping_what_is_not_there_is_not_found(server: Server) -> None:
    error = refusal(server.stub.DeleteMemory, pb.DeleteMemoryRequest(name="nowhere"))

    assert (error.code, error.reason) == (MISSING, "UNKNOWN_MEMORY")
    assert '"nowhere"' in error.message


def test_the_client_raises_the_same_refusals(pets: RemoteMemory) -> None:
    with visual_memory.connect(pets.server.address) as client:
        with pytest.raises(visual_memory.AlreadyExists):
            client.create_memory(pets.name, dimension=4)
        with pytest.raises(visual_memory.InvalidArgument, match="1 to 63"):
            client.create_memory("NO")
        with pytest.raises(visual_memory.InvalidArgument, match="--allow-embedder"):
            client.create_memory("no", embedder="onnx:/etc/passwd")
        with pytest.raises(visual_memory.NotFound):
            client.delete_memory("nowhere")


# Damage


def garble_pages(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(PAGE_BYTES)
        file.write(b"\xa5" * (path.stat().st_size - PAGE_BYTES))


def change(statement: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        with sqlite3.connect(path) as db:
            db.execute(statement)
        db.close()

    return damage


BAD_LABEL = change("UPDATE entries SET label = CAST(x'ff' AS TEXT) WHERE key = 7")


def misspell(path: Path) -> None:
    """Flip one bit of the schema."""
    page = bytearray(path.read_bytes())
    page[page.index(b"name TEXT NOT NULL") + 5] ^= 0x80
    path.write_bytes(page)


def swap_pages(path: Path) -> None:
    """Exchange the pages of two tables with different columns."""
    with closing(sqlite3.connect(path)) as db:
        roots = "SELECT rootpage FROM sqlite_schema WHERE name IN ('memory', 'settings')"
        first, second = (slice((n - 1) * PAGE_BYTES, n * PAGE_BYTES) for (n,) in db.execute(roots))
    pages = bytearray(path.read_bytes())
    pages[first], pages[second] = pages[second], pages[first]
    path.write_bytes(pages)


def unspecify(path: Path) -> None:
    """Replace a file by a sound one with a malformed spec, and remove what is noted of it."""
    path.unlink()
    Memory.create(path, new_identity("unspecified", 4, "{}")).close()
    with closing(sqlite3.connect(path.parents[1] / "catalog.sqlite")) as db, db:
        db.execute("DELETE FROM noted WHERE file = ?", (path.name,))
        db.execute("DELETE FROM sums")


def make_newer(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()


DAMAGE: dict[str, tuple[Callable[[Path], Any], grpc.StatusCode, str]] = {
    "garbled": (garble_pages, grpc.StatusCode.DATA_LOSS, "is damaged"),
    "missing": (Path.unlink, grpc.StatusCode.DATA_LOSS, "the file is missing"),
    "emptied": (lambda path: path.write_bytes(b""), grpc.StatusCode.DATA_LOSS, "it is empty"),
    "other": (lambda path: path.write_bytes(b"x" * 9999), grpc.StatusCode.DATA_LOSS, "not a data"),
    "undecodable": (BAD_LABEL, grpc.StatusCode.DATA_LOSS, "not decode"),
    "misspelt": (misspell, grpc.StatusCode.DATA_LOSS, "is damaged"),
    "swapped": (swap_pages, grpc.StatusCode.DATA_LOSS, "is damaged"),
    "indexed": (
        change("CREATE INDEX more ON entries (label)"),
        grpc.StatusCode.DATA_LOSS,
        "its schema is not that of this release, at 'more'",
    ),
    "unspecified": (unspecify, grpc.StatusCode.DATA_LOSS, "not an embedder's spec"),
    "newer": (make_newer, grpc.StatusCode.FAILED_PRECONDITION, "schema 99, but this release knows"),
}


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with one memory for each kind of damage, and an undamaged one."""
    server = Server(tmp_path_factory.mktemp("damaged") / "data")
    ids = [f"{number:03}" for number in range(500)]
    for name in (*DAMAGE, "whole"):
        create(server, name, *ids)
    server.end()
    for name, (damage, _, _) in DAMAGE.items():
        damage(file_of(server, name))
    server.start()
    yield server
    assert server.end() == 0


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_memory_is_named_while_the_others_serve(damaged: Server, name: str) -> None:
    _, code, says = DAMAGE[name]
    search = pb.SearchRequest(memory=name, vectors=to_vectors([1, 0, 0, 0]))

    error = refusal(damaged.stub.Search, search)

    assert error.code is code
    assert re.search(rf"^{name}\..*\.sqlite .*{says}", error.message)
    assert str(damaged.data) not in error.message
    assert f"{damaged.data}/memories/{error.message[:20]}" in damaged.log()
    assert (health(damaged, name), health(damaged, "whole")) == (NOT_SERVING, SERVING)
    assert len(RemoteMemory(damaged, "whole").ids()) == 500


def test_damaged_memories_are_listed_with_their_damage(damaged: Server) -> None:
    with visual_memory.connect(damaged.address) as client:
        listed = {info.name: info for info in client.memories()}

    assert listed.keys() == {*DAMAGE, "whole"}
    assert (listed["whole"].damage, listed["whole"].count) == (None, 500)
    for name, (_, _, says) in DAMAGE.items():
        assert re.search(says, listed[name].damage or ""), name
        assert listed[name].count == 0


def test_a_memory_that_the_catalog_does_not_know_is_named_and_can_be_dropped(
    start: Start, tmp_path: Path
) -> None:
    older, data = b"", tmp_path / "data"
    for name in ("known", "lost"):
        older = (data / "catalog.sqlite").read_bytes() if name == "lost" else b""
        with closing(Catalog(data)) as catalog:
            made = catalog.create(name, dimension=4, embedder=None)
            assert made is not None
            with closing(made):
                made.insert([Entry("a", "cat")], np.eye(1, 4, dtype=np.float32))
    (data / "catalog.sqlite").write_bytes(older)
    server = start(data)
    file = file_of(server, "lost")

    error = refusal(server.stub.GetMemory, pb.GetMemoryRequest(name="lost"))

    assert names(server) == ["known", "lost"]
    assert (error.reason, health(server, "lost")) == ("UNLISTED_FILE", NOT_SERVING)
    assert f'{file.name} holds the memory "lost", but the list of memories has' in error.message
    taken = refusal(server.stub.CreateMemory, pb.CreateMemoryRequest(name="lost", dimension=4))
    assert taken.code is grpc.StatusCode.ALREADY_EXISTS
    server.stub.DeleteMemory(pb.DeleteMemoryRequest(name="lost"))
    assert not file.exists()
    assert create(server, "lost", "new").ids() == ["new"]


def test_a_copy_beside_a_memory_is_named_and_the_memory_serves(start: Start, command: Run) -> None:
    """Each way out in the refusal is followed word for word, too."""
    server = start()
    cats, dogs = create(server, "cats", *"abcd"), create(server, "dogs", "e")
    file = file_of(server, "cats")
    for copy in ("cats.sqlite", "dogs.sqlite", "Cats (copy).sqlite"):
        server.end()
        shutil.copy(file, file.with_name(copy))
        server.start()

        (name,) = set(names(server)) - {"cats", "dogs"}
        error = refusal(server.stub.GetMemory, pb.GetMemoryRequest(name=name))

        assert (cats.ids(), health(server, "cats"), health(server, name)) == (
            [*"abcd"],
            SERVING,
            NOT_SERVING,
        )
        assert f'{copy} holds the memory "cats", but the list of memories has' in error.message
        accept, drop = re.findall(r'(?:memory accept|delete the memory) "?([^ "]+)', error.message)
        assert f"visual-memory accept {accept} --data DIR" in server.log()
        if copy != "dogs.sqlite":
            server.stub.DeleteMemory(pb.DeleteMemoryRequest(name=drop))
        else:
            server.end()
            done = command("accept", accept, "--data", server.data, "--apply")
            assert (done.returncode, done.stderr) == (0, "")
            server.start()
            assert RemoteMemory(server, accept).ids() == [*"abcd"]
            server.stub.DeleteMemory(pb.DeleteMemoryRequest(name=accept))
        assert not file.with_name(copy).exists()
        assert (names(server), dogs.ids(), cats.ids()) == (["cats", "dogs"], ["e"], [*"abcd"])


def test_a_name_of_a_damaged_memory_is_taken(damaged: Server) -> None:
    error = refusal(damaged.stub.CreateMemory, pb.CreateMemoryRequest(name="newer", dimension=4))

    assert error.code is grpc.StatusCode.ALREADY_EXISTS


def test_a_damaged_memory_can_be_dropped_and_made_anew(emptied: Server) -> None:
    server = emptied
    create(server, "pets", "a")
    file = file_of(server, "pets")
    server.end()
    file.write_bytes(b"x" * 9999)
    server.start(*FLAGS)

    server.stub.DeleteMemory(pb.DeleteMemoryRequest(name="pets"))

    assert not file.exists()
    assert create(server, "pets", "new").ids() == ["new"]
    assert health(server, "pets") == SERVING


def test_refusing_a_damaged_memory_again_and_again_keeps_nothing(tmp_path: Path) -> None:
    changes: list[tuple[str, bool]] = []
    memories = Memories(Settings(tmp_path), lambda *change: changes.append(change))
    memories.create("pets", embedder=None, dimension=4, store_images=False, request=WITHOUT_ID)
    memories.close()
    (file,) = (tmp_path / "memories").glob("pets.*.sqlite")
    file.write_bytes(b"")
    memories = Memories(Settings(tmp_path), lambda *change: changes.append(change))

    for _ in range(50):
        with pytest.raises(CorruptStore) as caught:
            memories.use("pets")

    memories.close()
    assert len(list(traceback.walk_tb(caught.value.__traceback__))) < 5
    assert changes == [("pets", True), ("pets", False)]


def test_many_memories_are_made_at_once_by_many(server: Server) -> None:
    wanted = [f"m{uuid.uuid4().hex}" for _ in range(8)]
    requests = [pb.CreateMemoryRequest(name=name, dimension=4) for name in wanted]

    calls = [server.stub.CreateMemory.future(request) for request in requests]

    assert [call.result().name for call in calls] == wanted
    assert set(wanted) <= set(names(server))


def test_a_setting_that_is_erased_while_it_is_read_is_not_kept(tmp_path: Path) -> None:
    identity = new_identity("m", 2, None, store_images=False)
    with closing(Memory.create(tmp_path / "m.sqlite", identity)) as memory:
        opened = ServedMemory(memory, None, Embedders(Settings(tmp_path)))
        memory.keep_setting("calibration", "fitted", call="CalibrateMemory")
        memory.insert([Entry("a", "cat")], np.ones((1, 2), np.float32))
        erasing = memory.unlearning.begin(["a"], allow_missing=False).operation.name

        def read(text: str) -> str:
            memory.unlearning.erase(erasing, settings=("calibration",), draft=lambda facts: "{}")
            opened.read.clear()
            return text.upper()

        assert opened.setting("calibration", read) == "FITTED"
        assert opened.read == {}
        assert opened.setting("calibration", read) is None


def test_a_page_of_memories_with_very_many_labels_holds_fewer(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "server.toml"
    config.write_text(f"message_bytes_max = {2**20}\n")
    server = start(None, "--config", str(config))
    labels = [f"{number:0256}" for number in range(5000)]
    with visual_memory.connect(server.address) as client:
        for name in "abc":
            client.create_memory(name, dimension=1)
        client.memory("b").insert(vectors=[[1.0]] * len(labels), labels=labels)

    first = server.stub.ListMemories(pb.ListMemoriesRequest())

    assert [memory.name for memory in first.memories] == ["a", "b"]
    assert names(server) == ["a", "b", "c"]
