"""The wire format as text: a line for each message, field, enum value and call of the protos.

``wire.lock`` has the lines of the last release; a line that is gone breaks clients. Run at a
release, this module writes the file anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    ServiceDescriptorProto,
)

PROTOS = Path(__file__).resolve().parent
RELEASED = PROTOS / "wire.lock"


def files() -> list[FileDescriptorProto]:
    """Return the descriptor of every proto below this folder, from its stubs."""
    found = []
    for path in sorted(PROTOS.rglob("*.proto")):
        stub = f"{path.relative_to(PROTOS).with_suffix('')}_pb2".replace("/", ".")
        found.append(FileDescriptorProto.FromString(import_module(stub).DESCRIPTOR.serialized_pb))
    return found


def wire_lines(protos: Iterable[FileDescriptorProto]) -> set[str]:
    """Return a line for each message, field, enum value and call of ``protos``.

    A line that was added is harmless, one that is missing breaks clients.
    """
    return {line for proto in protos for line in _of_file(proto)}


def _of_file(proto: FileDescriptorProto) -> Iterator[str]:
    yield from _of_types(proto.message_type, proto.enum_type, proto.package, proto.name)
    for service in proto.service:
        yield from _of_service(service, proto.package, proto.name)


def _of_types(
    messages: Iterable[DescriptorProto],
    enums: Iterable[EnumDescriptorProto],
    scope: str,
    file: str,
) -> Iterator[str]:
    for message in messages:
        name = f"{scope}.{message.name}"
        yield f"{name} is a message in {file}"
        oneofs = [oneof.name for oneof in message.oneof_decl]
        for field in message.field:
            yield f"{name}.{field.name} = {field.number}: {_kind(field, oneofs)}"
        yield from _of_types(message.nested_type, message.enum_type, name, file)
    for enum in enums:
        name = f"{scope}.{enum.name}"
        yield f"{name} is an enum in {file}"
        for value in enum.value:
            yield f"{name}.{value.name} = {value.number}"


def _kind(field: FieldDescriptorProto, oneofs: list[str]) -> str:
    scalar = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    kind = field.type_name.removeprefix(".") or scalar
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"repeated {kind}"
    if field.proto3_optional:
        return f"optional {kind}"
    if field.HasField("oneof_index"):
        return f"{kind} of oneof {oneofs[field.oneof_index]}"
    return kind


def _of_service(service: ServiceDescriptorProto, scope: str, file: str) -> Iterator[str]:
    name = f"{scope}.{service.name}"
    yield f"{name} is a service in {file}"
    for method in service.method:
        request = "stream " * method.client_streaming + method.input_type.removeprefix(".")
        response = "stream " * method.server_streaming + method.output_type.removeprefix(".")
        yield f"{name}.{method.name}({request}) returns ({response})"


if __name__ == "__main__":
    RELEASED.write_text("\n".join(sorted(wire_lines(files()))) + "\n", encoding="utf-8")
