"""With any text in any field of a call, the answer fits into gRPC's metadata."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from tests.conftest import to_batch, to_picture, to_vectors

from visual_memory import errors
from visual_memory.v1 import entry_pb2
from visual_memory.v1 import service_pb2 as pb

if TYPE_CHECKING:
    from tests.conftest import RemoteMemory

METADATA_BYTES_MAX = 8192  # from which on receivers refuse an answer, more and more often
SPARE_BYTES = 1024  # for what proxies add
PAIR_BYTES = 32  # that HTTP/2 counts for each name with its value
TEXTS = {
    "long": "a" * 20_000,
    "Chinese": "漢" * 5_000,
    "Chinese, of 255 bytes": "漢" * 85,
    "control characters": "\x01\x1b\r\n\x7f\x85" * 1_000,
    "no text": "\0" * 300,
    "percent signs and quotes": '%"\\' * 2_000,
    "beside surrogates": "\ud7ff\ue000" * 2_000,
    "beyond 16 bits": "\U0010ffff" * 2_000,
    "a filter": f'label = "{"漢" * 300}" AND metadata.{"a" * 300} = "b" OR {"é" * 500}',
    "a comparison": f'{"漢" * 300} > "{"b" * 300}"',
    "a path": f"entries[{'9' * 500}].{'漢' * 500}",
}
MANY = 100  # in a list
BROKEN = "broken"
NO_UTF8 = b"\xed\xa0\x80ab\xff"

Path: TypeAlias = tuple[FieldDescriptor, ...]
VECTOR = to_vectors(np.eye(4)[:1])
SERVICE = pb.DESCRIPTOR.services_by_name["VisualMemory"]


def sensible(memory: str) -> dict[str, Sequence[Message]]:
    """Return valid messages of each call, for a memory of three pets."""
    batch = to_batch(np.eye(4)[3:], ["new"])
    operation = f"{memory}/0"
    return {
        "GetServerInfo": [pb.GetServerInfoRequest()],
        "CreateMemory": [pb.CreateMemoryRequest(name=memory, dimension=4)],
        "GetMemory": [pb.GetMemoryRequest(name=memory)],
        "ListMemories": [pb.ListMemoriesRequest()],
        "DeleteMemory": [pb.DeleteMemoryRequest(name="nobody")],
        "InsertEntries": [pb.InsertEntriesRequest(memory=memory, batch=batch)],
        "ImportEntries": [
            pb.ImportEntriesRequest(start=pb.ImportStart(memory=memory, request_id="i")),
            pb.ImportEntriesRequest(batch=pb.ImportBatch(batch=batch)),
        ],
        "GetEntry": [pb.GetEntryRequest(memory=memory, id="a")],
        "ListEntries": [pb.ListEntriesRequest(memory=memory)],
        "UpdateEntry": [
            pb.UpdateEntryRequest(
                memory=memory,
                entry=entry_pb2.Entry(id="a", label="cat"),
                update_mask=FieldMask(paths=["label"]),
            )
        ],
        "DeleteEntries": [pb.DeleteEntriesRequest(memory=memory, ids=["nobody"])],
        "PurgeEntries": [pb.PurgeEntriesRequest(memory=memory, filter='label = "cow"')],
        "Classify": [pb.ClassifyRequest(memory=memory, vectors=VECTOR, neighbors=1)],
        "Search": [pb.SearchRequest(memory=memory, vectors=VECTOR)],
        "Embed": [pb.EmbedRequest(memory=memory, images=entry_pb2.Images(data=[to_picture()]))],
        "GetMisleadingCounts": [pb.GetMisleadingCountsRequest(memory=memory)],
        "PruneEntries": [
            pb.PruneEntriesRequest(memory=memory, random=pb.RandomPrune(fraction=0.5))
        ],
        "RelabelEntries": [pb.RelabelEntriesRequest(memory=memory, labels={"a": "cat"})],
        "Undo": [pb.UndoRequest(memory=memory, operation=operation)],
        "ValueEntries": [pb.ValueEntriesRequest(memory=memory, vectors=VECTOR, labels=["cat"])],
        "ExplainDecision": [pb.ExplainDecisionRequest(memory=memory, vectors=VECTOR)],
        "AssessMemory": [pb.AssessMemoryRequest(memory=memory)],
        "JudgeLabels": [pb.JudgeLabelsRequest(memory=memory)],
        "TuneMemory": [pb.TuneMemoryRequest(memory=memory, group_by="source")],
        "CalibrateMemory": [
            pb.CalibrateMemoryRequest(memory=memory, vectors=VECTOR, labels=["cat"])
        ],
        "GetTaxonomy": [pb.GetTaxonomyRequest(memory=memory)],
        "SetTaxonomy": [
            pb.SetTaxonomyRequest(
                memory=memory,
                edges=[
                    pb.Edge(child="cat", parent="pet"),
                    pb.Edge(child="pet", parent="漢" * 85),
                    pb.Edge(child="漢" * 85, parent="animal"),
                ],
            )
        ],
        "SetReranker": [pb.SetRerankerRequest(memory=memory, reranker="")],
        "UnlearnEntries": [pb.UnlearnEntriesRequest(memory=memory, ids=["nobody"], apply=True)],
        "GetCertificate": [pb.GetCertificateRequest(operation=operation)],
        "ListAuditEvents": [pb.ListAuditEventsRequest(memory=memory)],
        "CheckMemory": [pb.CheckMemoryRequest(memory=memory)],
        "BackupMemory": [pb.BackupMemoryRequest(memory=memory)],
        "RestoreMemory": [pb.RestoreMemoryRequest(name="restored", data=b"no backup")],
        "CopyMemory": [pb.CopyMemoryRequest(memory=memory, new_name=memory)],
        "ReembedMemory": [
            pb.ReembedMemoryRequest(memory=memory, embedder="nonesuch", former_name="former")
        ],
        "GetOperation": [pb.GetOperationRequest(name=operation)],
        "ListOperations": [pb.ListOperationsRequest(memory=memory)],
        "CancelOperation": [pb.CancelOperationRequest(name=operation)],
        "WaitOperation": [pb.WaitOperationRequest(name=operation, timeout=Duration(seconds=1))],
    }


def texts_of(descriptor: Descriptor, path: Path = ()) -> Iterator[Path]:
    """Yield the path to each field of text or bytes in a message, keys and values of maps too."""
    for field in descriptor.fields:
        if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
            yield (*path, field)
        elif field.message_type is not None:
            yield from texts_of(field.message_type, (*path, field))


def put(message: Any, path: Path, texts: Sequence[str]) -> None:
    """Set the field to a text or, if it is repeated, to all texts."""
    field, *rest = path
    values: list[Any] = [each.encode() for each in texts]
    if field.type != FieldDescriptor.TYPE_BYTES:
        values = list(texts)
    held = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        is_key = rest[0].name == "key"
        numbered = enumerate(values)
        held.clear()
        held.update((each, "x") if is_key else (f"k{number}", each) for number, each in numbered)
    elif rest and field.is_repeated:
        for number, each in enumerate(texts):
            put(held[number] if number < len(held) else held.add(), tuple(rest), [each])
    elif rest:
        put(held, tuple(rest), texts)
    elif field.is_repeated:
        del held[:]
        held.extend(values)
    else:
        setattr(message, field.name, values[0])


@dataclass
class Answer:
    """The end of a call: its metadata in bytes and, if refused, code and reason."""

    metadata_bytes: int
    code: grpc.StatusCode | None = None
    reason: str = ""

    def fault(self) -> str:
        """Return the reason why clients could not read the answer, empty if they can."""
        if self.metadata_bytes > METADATA_BYTES_MAX - SPARE_BYTES:
            return f"{self.metadata_bytes} bytes of metadata"
        if self.code and self.reason in ("", "SERVICE_FAILED"):
            return f"{self.code.name} {self.reason}"
        return ""


def ask(server: Any, method: MethodDescriptor, sent: Sequence[bytes]) -> Answer:
    """Send messages as bytes, and return the answer."""
    requests = "stream" if method.client_streaming else "unary"
    responses = "stream" if method.server_streaming else "unary"
    call = getattr(server.channel, f"{requests}_{responses}")(f"/{SERVICE.full_name}/{method.name}")
    try:
        answers = call(iter(sent) if method.client_streaming else sent[0], timeout=60)
        _ = list(answers) if method.server_streaming else answers
    except grpc.RpcError as error:
        reason = errors.details(error).get("reason", "")
        return Answer(metadata_bytes(error), error.code(), reason)
    return Answer(0)


def metadata_bytes(error: Any) -> int:
    """Return the metadata's size on the wire: binary values as base64, the message escaped."""
    sentence = (error.details() or "").encode()
    escaped = sum(1 if 32 <= each < 127 and each != 37 else 3 for each in sentence)
    size = len("grpc-message") + escaped + len("grpc-status") + 2 + 2 * PAIR_BYTES
    for key, value in error.trailing_metadata() or ():
        length = (len(value) + 2) // 3 * 4 if key.endswith("-bin") else len(value)
        size += len(key) + length + PAIR_BYTES
    return size


def test_every_call_has_a_sensible_message() -> None:
    assert sorted(sensible("m")) == sorted(method.name for method in SERVICE.methods)


@pytest.mark.parametrize("method", list(SERVICE.methods), ids=lambda method: method.name)
def test_an_answer_fits_metadata_whatever_text_is_sent(
    pets: RemoteMemory, method: MethodDescriptor
) -> None:
    faults = []

    for path in texts_of(method.input_type):
        for what, text in TEXTS.items():
            for texts in ([text], [f"{number}{text}"[:300] for number in range(MANY)]):
                if len(texts) > 1 and not any(field.is_repeated for field in path):
                    continue
                messages = sensible(pets.name)[method.name]
                changed = messages[-1 if path[0].name == "batch" else 0]
                put(changed, path, texts)
                answer = ask(pets.server, method, [each.SerializeToString() for each in messages])
                if fault := answer.fault():
                    where = ".".join(field.name for field in path)
                    faults.append(f"{where}, {what} × {len(texts)}: {fault}")

    assert faults == []


@pytest.mark.parametrize("method", list(SERVICE.methods), ids=lambda method: method.name)
def test_what_is_no_utf8_is_refused(pets: RemoteMemory, method: MethodDescriptor) -> None:
    for path in texts_of(method.input_type):
        if path[-1].type == FieldDescriptor.TYPE_BYTES:
            continue
        messages = sensible(pets.name)[method.name]
        number = len(messages) - 1 if path[0].name == "batch" else 0
        put(messages[number], path, [BROKEN])
        sent = [each.SerializeToString() for each in messages]
        sent[number] = sent[number].replace(BROKEN.encode(), NO_UTF8)

        answer = ask(pets.server, method, sent)

        assert (answer.code, answer.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "BAD_FIELD")
