"""Every call, by every scope, with every kind of key: what is permitted, and who is named."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import numpy as np
import pytest
from google.protobuf import message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from tests.api_keys import add
from tests.conftest import Server
from tests.web import WebServer

import visual_memory
from visual_memory import errors
from visual_memory.scopes import CALLS, PERMITS, SCOPES
from visual_memory.v1 import service_pb2 as pb
from visual_memory_service.access.keys import new_secret
from visual_memory_service.http.routes import VARIABLE, make_routes

NOW = datetime.now(UTC)
SERVICE = "visual_memory.v1.VisualMemory"
METHODS = {each.name: each for each in pb.DESCRIPTOR.services_by_name["VisualMemory"].methods}
KEYLESS = ("NO_KEY", "WRONG_KEY", "REVOKED_KEY", "EXPIRED_KEY")
REFUSED = (*KEYLESS, "WRONG_SCOPE", "OTHER_MEMORIES")
ROUTES = make_routes()
WAYS = [*(("grpc", call) for call in CALLS), *(("http", each.call) for each in ROUTES)]


class Keys(NamedTuple):
    """The texts of the keys of a server, by name."""

    server: WebServer
    texts: dict[str, str]

    def client(self, name: str) -> visual_memory.Client:
        return visual_memory.connect(self.server.address, api_key=self.texts[name])


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keys]:
    data = tmp_path_factory.mktemp("keys") / "data"
    texts = {scope: add(data, scope, scope) for scope in SCOPES}
    texts |= {
        f"of-pets-{each}": add(data, f"of-pets-{each}", each, memories=("pets*",))
        for each in SCOPES
    }
    texts["expired"] = add(data, "expired", *SCOPES, expires=NOW - timedelta(hours=1))
    texts["revoked"] = add(data, "revoked", *SCOPES, revoked=NOW)
    texts["wrong"] = new_secret()[0]
    server = WebServer(data, "--erasure", "files", "--log-level", "debug")
    with visual_memory.connect(server.address, api_key=texts["admin"]) as client:
        for name in ("pets", "others"):
            client.create_memory(name, dimension=4).insert(
                vectors=np.eye(4)[:2], labels=["cat", "dog"], ids=["a", "b"]
            )
    yield Keys(server, texts)
    assert server.end() == 0
    for text in texts.values():
        assert text not in server.last_log
        assert text.split("_")[-1] not in server.last_log
        for path in data.rglob("*"):
            if path.is_file():
                assert text.split("_")[-1].encode() not in path.read_bytes()


def reason_of(server: Server, call: str, request: Any, text: str | None) -> str:
    """Make a call with one message, and return the reason of its refusal, empty if it has none."""
    method = METHODS[call]
    answer = message_factory.GetMessageClass(method.output_type)
    ask: Any = server.channel.stream_stream(
        f"/{SERVICE}/{call}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=answer.FromString,
    )
    metadata = () if text is None else (("authorization", f"Bearer {text}"),)
    try:
        list(ask(iter([request]), metadata=metadata, timeout=30))
    except grpc.RpcError as error:
        found = errors.from_rpc(error, "the server")
        assert found.reason not in REFUSED or text is None or text not in found.message
        return found.reason
    return ""


def reason_by_http(server: WebServer, call: str, memory: str, text: str | None) -> str:
    """Make a call by HTTP that names a memory alone, and return the reason as ``reason_of``."""
    (route,) = (each for each in ROUTES if each.call == call)
    path = VARIABLE.sub(
        lambda found: {"*/*": f"{memory}/1", "**": "id"}.get(found[2] or "", memory), route.template
    )
    document: Any = {} if route.body else None
    if call in ("CreateMemory", "CopyMemory", "ReembedMemory"):
        others = {"CreateMemory": "name", "CopyMemory": "newName", "ReembedMemory": "formerName"}
        document = {others[call]: memory}
    headers: dict[str, Any] = {} if text is None else {"authorization": f"Bearer {text}"}
    answer = server.ask(route.verb, path, document, **headers)
    assert answer.reason not in REFUSED or text is None or text not in str(answer.document)
    if answer.reason in KEYLESS:
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    if answer.reason in ("WRONG_SCOPE", "OTHER_MEMORIES"):
        assert answer.status == 403
    return answer.reason


def reason_by(way: str, keys: Keys, call: str, memory: str, text: str | None) -> str:
    """Make a call by gRPC or HTTP, and return the reason of its refusal, empty if it has none."""
    if way == "http":
        return reason_by_http(keys.server, call, memory, text)
    return reason_of(keys.server, call, about(call, memory), text)


def about(call: str, memory: str) -> Any:
    """Return a request that names a memory, but nothing that could be done."""
    request = message_factory.GetMessageClass(METHODS[call].input_type)()
    for path in CALLS[call].memories:
        *outer, last = path.split(".")
        part = request
        for field in outer:
            part = getattr(part, field)
        setattr(part, last, f"{memory}/1" if last == "operation" or "Operation" in call else memory)
    return request


def test_the_table_has_the_calls_that_the_running_server_tells(server: Server) -> None:
    database = ProtoReflectionDescriptorDatabase(server.channel)
    file = database.FindFileContainingSymbol(SERVICE)
    told = {
        method.name
        for each in file.service
        if each.name == "VisualMemory"
        for method in each.method
    }

    assert told == set(CALLS)


@pytest.mark.parametrize("call", CALLS)
def test_a_field_that_names_a_memory_is_in_the_table(call: str) -> None:
    named = {"memory", "name", "new_name", "former_name", "operation"}
    if call in ("Undo", "ListMemories"):
        named.remove("operation")  # is looked up in the memory
    fields = {each.name for each in METHODS[call].input_type.fields}
    listed = {path.partition(".")[0] for path in CALLS[call].memories}

    assert (fields & named) | (listed - named) == listed


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize(("way", "call"), WAYS)
def test_a_scope_permits_what_the_table_says(way: str, call: str, scope: str, keys: Keys) -> None:
    reason = reason_by(way, keys, call, "nothing", keys.texts[scope])

    if PERMITS[scope] & CALLS[call].scopes:
        assert reason not in REFUSED
    else:
        assert reason == "WRONG_SCOPE"


@pytest.mark.parametrize(
    ("way", "call", "scope"),
    [
        (way, call, scope)
        for way, call in WAYS
        for scope in SCOPES
        if CALLS[call].memories and PERMITS[scope] & CALLS[call].scopes
    ],
)
def test_a_key_of_some_memories_is_refused_for_others(
    way: str, call: str, scope: str, keys: Keys
) -> None:
    text = keys.texts[f"of-pets-{scope}"]

    for other in ("others", "nothing", "pet"):
        assert reason_by(way, keys, call, other, text) == "OTHER_MEMORIES"
    assert reason_by(way, keys, call, "pets-of-nobody", text) not in REFUSED


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (None, "NO_KEY"),
        ("wrong", "WRONG_KEY"),
        ("revoked", "REVOKED_KEY"),
        ("expired", "EXPIRED_KEY"),
    ],
)
@pytest.mark.parametrize(("way", "call"), WAYS)
def test_without_a_key_that_counts_no_call_is_made(
    way: str, call: str, kind: str | None, reason: str, keys: Keys
) -> None:
    text = None if kind is None else keys.texts[kind]

    assert reason_by(way, keys, call, "pets", text) == reason


@pytest.mark.parametrize(
    ("method", "code"),
    [
        ("GetMemory", grpc.StatusCode.UNAUTHENTICATED),
        ("ImportEntries", grpc.StatusCode.UNAUTHENTICATED),
        ("BackupMemory", grpc.StatusCode.UNAUTHENTICATED),
    ],
)
def test_nothing_is_received_of_strangers(method: str, code: grpc.StatusCode, keys: Keys) -> None:
    sent = []

    def endless() -> Iterator[bytes]:
        for number in range(1000):
            sent.append(number)
            yield bytes(1 << 20)

    ask: Any = keys.server.channel.stream_stream(f"/{SERVICE}/{method}")
    with pytest.raises(grpc.RpcError) as caught:
        list(ask(endless(), timeout=30))

    assert caught.value.code() is code
    assert len(sent) < 100


def test_health_is_told_to_all_and_reflection_to_keys(keys: Keys) -> None:
    channel = keys.server.channel
    health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())

    assert health.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as caught:
        ProtoReflectionDescriptorDatabase(channel).get_services()
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_strangers_who_ask_for_reflection_wait_too(keys: Keys) -> None:
    method: Any = keys.server.channel.stream_stream(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    )
    over = time.monotonic() + 2

    def refused(_: int) -> int:
        came = 0
        while time.monotonic() < over:
            with pytest.raises(grpc.RpcError):
                list(method(iter([b""]), timeout=30))
            came += 1
        return came

    began = time.monotonic()
    with ThreadPoolExecutor(32) as threads:
        came = sum(threads.map(refused, range(32)))

    assert came <= 200 * (time.monotonic() - began) + 200 + 32


def test_what_is_public_needs_no_key(start: Callable[..., Server], tmp_path: Path) -> None:
    add(tmp_path / "data", "admin", "admin")
    server = start(tmp_path / "data", "--public", "reflection", "--public", "server-info")

    assert SERVICE in ProtoReflectionDescriptorDatabase(server.channel).get_services()
    assert reason_of(server, "GetServerInfo", pb.GetServerInfoRequest(), None) == ""
    assert reason_of(server, "ListMemories", pb.ListMemoriesRequest(), None) == "NO_KEY"


def test_a_key_sees_the_memories_that_it_is_for(keys: Keys) -> None:
    with keys.client("read") as all_of_them, keys.client("of-pets-read") as some:
        assert {"others", "pets"} <= {each.name for each in all_of_them.memories()}
        shown = {each.name for each in some.memories()}
        assert "pets" in shown
        assert all(name.startswith("pets") for name in shown)
        assert some.memory("pets").classify(vectors=np.eye(4)[:1], k=1)[0].label == "cat"
        with pytest.raises(visual_memory.PermissionDenied, match='not for "others"'):
            some.memory("others").info()


def test_a_later_message_does_not_name_another_memory(keys: Keys) -> None:
    first = pb.UnlearnEntriesRequest(memory="pets", id_count=2, ids=["nobody"])
    second = pb.UnlearnEntriesRequest(memory="others", ids=["a"], apply=True)
    ask: Any = keys.server.channel.stream_stream(
        f"/{SERVICE}/UnlearnEntries",
        request_serializer=lambda message: message.SerializeToString(),
    )
    metadata = (("api-key", keys.texts["of-pets-erase"]),)

    with pytest.raises(grpc.RpcError) as caught:
        list(ask(iter([first, second]), metadata=metadata))

    assert errors.from_rpc(caught.value, "").reason == "BAD_FIELD"
    with keys.client("read") as client:
        assert client.memory("others").info().count == 2


def test_the_audit_log_names_the_principal_of_every_write(
    start: Callable[..., Server], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    texts = {
        name: add(data, name, scope)
        for name, scope in (("ann", "admin"), ("bob", "write"), ("eve", "erase"))
    }
    server = start(data, "--erasure", "files")
    ann, bob, eve = (visual_memory.connect(server.address, api_key=texts[name]) for name in texts)
    memory = ann.create_memory("pets", dimension=4)
    theirs = bob.memory("pets")
    theirs.insert(vectors=np.eye(4), labels=["a", "b", "c", "d"], ids=["1", "2", "3", "4"])
    theirs.insert(vectors=np.eye(4)[:2], labels=["a", "b"], ids=["5", "6"], request_id="again")
    theirs.update("1", label="z")
    pruned = theirs.prune(method="ids", ids=["2"], apply=True)
    assert pruned.operation is not None
    theirs.undo(pruned.operation)
    relabelled = theirs.relabel({"3": "y"}, apply=True)
    theirs.delete(ids=["6"])
    theirs.purge(filter='id = "5"', apply=True)
    memory.set_taxonomy({"z": "letter"})
    certificate = eve.memory("pets").unlearn(ids=["4"])
    ann.backup("pets", tmp_path / "pets.vmb")
    ann.copy("pets", "twins")
    ann.restore(tmp_path / "pets.vmb", name="triplets")

    events = list(memory.audit_events())
    by = {(each.call, each.principal) for each in events}

    assert relabelled.operation is not None
    assert certificate.memory == "pets"
    assert {who for _, who in by} == {"ann", "bob", "eve"}
    assert {call for call, who in by if who == "eve"} == {"UnlearnEntries"}
    assert {call for call, who in by if who == "ann"} == {
        "CreateMemory",
        "SetTaxonomy",
        "BackupMemory",
    }
    for name in ("twins", "triplets"):
        last = list(ann.memory(name).audit_events())[-1]
        assert last.principal == "ann", last
    with pytest.raises(visual_memory.PermissionDenied):
        bob.memory("pets").unlearn(ids=["1"])
    for client in (ann, bob, eve):
        client.close()
    assert server.end() == 0
    (line,) = [json.loads(line) for line in server.last_log.splitlines() if '"refused"' in line]
    assert (line["principal"], line["reason"]) == ("bob", "WrongScope")


def test_an_import_names_its_principal(keys: Keys) -> None:
    with keys.client("of-pets-admin") as client:
        memory = client.create_memory("pets-imported", dimension=4)
    with keys.client("of-pets-write") as client:
        count = 3000
        client.memory("pets-imported").insert(
            vectors=np.random.default_rng(1).standard_normal((count, 4)), labels=["x"] * count
        )
        events = list(client.memory("pets-imported").audit_events())
    assert memory.name == "pets-imported"
    assert {each.principal for each in events[1:]} == {"of-pets-write"}


def test_a_caller_cancels_its_own_operations_and_those_of_others_only_to_write(keys: Keys) -> None:
    with keys.client("admin") as admin:
        memory = admin.create_memory("pets-cancelled", dimension=32)
        rows = np.random.default_rng(3).standard_normal((20_000, 32))
        memory.insert(vectors=rows, labels=[f"l{at % 50}" for at in range(len(rows))])
        theirs = memory.check(wait=False)
    with keys.client("read") as reader:
        own = reader.memory("pets-cancelled").assess(wait=False)
        with pytest.raises(visual_memory.PermissionDenied, match="another caller's needs write"):
            reader.cancel(theirs.name)
        reader.cancel(own.name)
        assert reader.wait(own.name).state == "cancelled"


def test_an_unlearning_does_not_tell_of_memories_that_the_key_is_not_for(keys: Keys) -> None:
    with keys.client("admin") as admin:
        for name in ("pets-same", "secret-same"):
            admin.create_memory(name, dimension=4).insert(
                vectors=np.eye(4)[3:] * 0.5, labels=["x"], ids=["same"]
            )
    with keys.client("of-pets-erase") as eraser, keys.client("erase") as all_of_them:
        shown = eraser.memory("pets-same").unlearn(ids=["same"], dry_run=True)
        everything = all_of_them.memory("pets-same").unlearn(ids=["same"], dry_run=True)

    assert "secret-same" in everything.also_in
    assert not any(name.startswith(("secret", "others")) for name in shown.also_in)
