"""The stubs agree with the protos, and the blocking client with the asyncio client.

Old tools write the stubs, so that these run with old libraries. Here the installed tools read the
protos, and the content and names of the stubs are compared with the result.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

from generate import OPENAPI, openapi, protoc

PROTOS = Path(__file__).resolve().parents[1] / "protos"
FILES = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
BLOCKING = "import generate; print(generate.blocking(open(generate.ASYNCIO).read()), end='')"


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FileDescriptorProto]:
    """The descriptor of each .proto, as the installed compiler reads it."""
    written = tmp_path_factory.mktemp("parsed") / "set"
    protoc(f"--descriptor_set_out={written}", python=Path(sys.executable))
    files = FileDescriptorSet.FromString(written.read_bytes()).file
    for file in files:
        for message in messages(file):
            for field in message.field:
                field.ClearField("json_name")  # stubs leave out what follows from the name
    return {file.name: file for file in files}


def messages(file: FileDescriptorProto) -> Iterator[DescriptorProto]:
    """Yield all messages of a file, nested ones too."""
    waiting = list(file.message_type)
    while waiting:
        message = waiting.pop()
        waiting += message.nested_type
        yield message


def stub(file: str, kind: str = "_pb2") -> ModuleType:
    return import_module(file.removesuffix(".proto").replace("/", ".") + kind)


def types(file: str, kind: str) -> str:
    return (PROTOS / file).with_name(Path(file).stem + kind).read_text(encoding="utf-8")


class Recorder:
    """A channel or server that records the kind and message of each method registered."""

    def __init__(self) -> None:
        self.methods: dict[str, tuple[str, str]] = {}

    def __getattr__(self, kind: str) -> Any:
        def keep(path: str, response_deserializer: Any, **_: Any) -> None:
            self.methods[path] = (kind, message_of(response_deserializer))

        return keep

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        for path, method in handlers[0]._method_handlers.items():
            kind = kind_of(method.request_streaming, method.response_streaming)
            self.methods[path] = (kind, message_of(method.request_deserializer))

    def add_registered_method_handlers(self, service: str, handlers: Any) -> None:
        """Do nothing: newer tools also call ``add_generic_rpc_handlers``."""


def message_of(read: Any) -> str:
    """Return the name of the message that a ``FromString`` reads."""
    return str(read.__self__.DESCRIPTOR.name)


def kind_of(*streams: bool) -> str:
    """Return the kind of a method, such as ``unary_stream``."""
    return "_".join("stream" if each else "unary" for each in streams)


def services(parsed: dict[str, FileDescriptorProto]) -> Iterator[tuple[str, str, Any]]:
    for name, file in parsed.items():
        yield from ((name, file.package, service) for service in file.service)


def expected(
    package: str, service: ServiceDescriptorProto, message: str
) -> dict[str, tuple[str, str]]:
    """Map the path of each method to its kind and its input or output message."""
    return {
        f"/{package}.{service.name}/{method.name}": (
            kind_of(method.client_streaming, method.server_streaming),
            getattr(method, message).rpartition(".")[2],
        )
        for method in service.method
    }


def test_every_stub_has_the_messages_of_its_proto(parsed: dict[str, FileDescriptorProto]) -> None:
    found = {name: FileDescriptorProto() for name in FILES}
    for name, file in found.items():
        stub(name).DESCRIPTOR.CopyToProto(file)

    assert found == parsed


def test_every_stub_calls_the_methods_of_its_services(
    parsed: dict[str, FileDescriptorProto],
) -> None:
    for name, package, service in services(parsed):
        channel = Recorder()
        getattr(stub(name, "_pb2_grpc"), f"{service.name}Stub")(channel)

        assert channel.methods == expected(package, service, "output_type")


def test_every_servicer_answers_the_methods_of_its_services(
    parsed: dict[str, FileDescriptorProto],
) -> None:
    for name, package, service in services(parsed):
        module, server = stub(name, "_pb2_grpc"), Recorder()
        servicer = getattr(module, f"{service.name}Servicer")()
        getattr(module, f"add_{service.name}Servicer_to_server")(servicer, server)

        assert server.methods == expected(package, service, "input_type")


def test_the_types_name_every_message_and_field(parsed: dict[str, FileDescriptorProto]) -> None:
    for name, file in parsed.items():
        tree = ast.walk(ast.parse(types(name, "_pb2.pyi")))
        classes = {node.name: node for node in tree if isinstance(node, ast.ClassDef)}
        for message in messages(file):
            body = classes[message.name].body
            constants = {
                line.target.id.removesuffix("_FIELD_NUMBER").lower()
                for line in body
                if isinstance(line, ast.AnnAssign)
                and isinstance(line.target, ast.Name)
                and line.target.id.endswith("_FIELD_NUMBER")
            }

            assert constants == {field.name for field in message.field}


def test_the_types_name_every_method(parsed: dict[str, FileDescriptorProto]) -> None:
    for name, _, service in services(parsed):
        tree = ast.walk(ast.parse(types(name, "_pb2_grpc.pyi")))
        classes = {node.name: node for node in tree if isinstance(node, ast.ClassDef)}
        methods = {
            line.name
            for line in classes[f"{service.name}Servicer"].body
            if isinstance(line, ast.FunctionDef)
        }

        assert methods == {method.name for method in service.method}


@pytest.mark.parametrize("file", FILES)
def test_the_types_say_what_the_comments_of_the_proto_say(file: str) -> None:
    proto = (PROTOS / file).read_text(encoding="utf-8")
    said = types(file, "_pb2.pyi") + types(file, "_pb2_grpc.pyi")
    of_fields = re.sub(
        r"(^\s*//.*\n)+(?=\s*oneof)", "", proto, flags=re.MULTILINE
    )  # no type has them
    lines = re.findall(r"^\s*// (.*)$", of_fields, re.MULTILINE)

    assert lines
    assert [line for line in lines if line.replace("\\", "\\\\") not in said] == []


def test_the_blocking_client_is_what_a_fresh_run_writes() -> None:
    command = [sys.executable, "-B", "-c", BLOCKING]
    written = subprocess.run(command, check=True, cwd=PROTOS, capture_output=True, text=True)

    assert written.stdout == (PROTOS / "visual_memory/client.py").read_text(encoding="utf-8")


def test_every_proto_has_its_four_stubs() -> None:
    kinds = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi")
    wanted = {f"{file.removesuffix('.proto')}{kind}" for file in FILES for kind in kinds}
    paths = [*PROTOS.rglob("*_pb2*.py"), *PROTOS.rglob("*_pb2*.pyi")]

    assert {str(path.relative_to(PROTOS)) for path in paths} == wanted


def test_the_openapi_description_is_that_of_the_protos() -> None:
    assert OPENAPI.read_text(encoding="utf-8") == openapi(python=Path(sys.executable))


def test_the_reference_of_the_configuration_is_that_of_the_code() -> None:
    command: list[str | Path] = [sys.executable, PROTOS.parent / ".ci" / "reference.py"]
    written = subprocess.run(command, check=True, capture_output=True, text=True).stdout

    assert (PROTOS.parent / "docs/api/configuration.md").read_text(encoding="utf-8") == written


def test_every_page_of_the_site_is_listed_for_programs() -> None:
    """If it fails: make reference."""
    root = PROTOS.parent
    command: list[str | Path] = [sys.executable, root / ".ci" / "llms.py"]
    printed = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    assert (root / "docs/llms.txt").read_text(encoding="utf-8") == printed

    pages = {path.relative_to(root / "docs").as_posix() for path in (root / "docs").rglob("*.md")}
    of_the_site = {page for page in pages if f"]({page}): " in printed}
    assert {page for page in pages - of_the_site if not page.startswith("decisions/0")} == set()
