"""Generate the stubs of every .proto below this folder, and the blocking client."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import google.api
from google.protobuf.descriptor_pb2 import FileDescriptorSet

PROTOS = Path(__file__).resolve().parent
BINARIES = Path(sys.executable).parent
# Written by old tools: stubs run with the libraries of their time and later ones.
TOOLS = PROTOS.parent / ".venv-stubs" / "bin"
RULES = Path(google.api.__path__[0]).parents[1]  # the folder of google/api/http.proto
OPENAPI = PROTOS.parent / "service/visual_memory_service/http/openapi.json"
ASYNCIO, BLOCKING = "visual_memory/aio.py", "visual_memory/client.py"
# What Python asks of a container has no form for asyncio.
OF_A_CONTAINER = '''
    def __len__(self) -> int:
        """Return the number of entries."""
        return self.info().count

    def __contains__(self, id: str) -> bool:
        """Return True if there is an entry of this id."""
        try:
            self.get(id)
        except NotFound:
            return False
        return True
'''
TO_BLOCK = (
    (
        r'^""".*"""$',
        '"""The blocking client: a connection, the memories behind it, and their calls.\n\n'
        'Written by generate.py from aio.py, where it is to be changed.\n"""',
    ),
    (r"calls under way are cancelled", "calls in other threads are cancelled"),
    (r"\bawait asyncio\.to_thread\(\s*([\w.]+),\s*", r"\1("),
    (r"\bawait prepared\(\s*\w+,\s*([\w.]+),\s*", r"\1("),
    (r",\s*alone=queries\.is_one_vector\b", ""),
    (r"\basyncio\.sleep\b", "time.sleep"),
    (r"\bimport asyncio\b", "import time"),
    (r"\b_transport\.aio\b", "_transport.blocking"),
    (r"\bAsyncIterator\b", "Iterator"),
    (r"\b__a(enter|exit|iter)__\b", r"__\1__"),
    (r"^class Memory:\n(    .*\n)", rf"class Memory:\n\1{OF_A_CONTAINER}"),
    (r"\bAwaitable\[(\w+)\]", r"\1"),
    (r"\b(async|await) ", ""),
    (r"\bfor (\w+) in (\w+):\s+yield \1\b", r"yield from \2"),
)


def generate() -> None:
    """Generate the stubs beside the .proto files, ``client.py`` from ``aio.py``, and OpenAPI."""
    protoc(
        f"--plugin=protoc-gen-mypy={TOOLS / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={TOOLS / 'protoc-gen-mypy_grpc'}",
        "--python_out=.",
        "--grpc_python_out=.",
        "--mypy_out=quiet:.",
        "--mypy_grpc_out=quiet:.",
    )
    source = (PROTOS / ASYNCIO).read_text(encoding="utf-8")
    (PROTOS / BLOCKING).write_text(blocking(source), encoding="utf-8")
    OPENAPI.write_text(openapi(), encoding="utf-8")


def protoc(*options: str | Path, python: Path = TOOLS / "python") -> None:
    """Run protoc with every .proto below this folder."""
    protos = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    command: list[str | Path] = [
        python,
        "-W",
        "ignore",
        "-m",
        "grpc_tools.protoc",
        f"-I{PROTOS}",
        f"-I{RULES}",
    ]
    subprocess.run([*command, *options, *protos], check=True, cwd=PROTOS)


def openapi(python: Path = TOOLS / "python") -> str:
    """Return the OpenAPI description of the calls by HTTP, as JSON."""
    from openapi import described  # the stubs that it imports may have been written just now

    with tempfile.NamedTemporaryFile() as file:
        protoc(f"--descriptor_set_out={file.name}", "--include_source_info", python=python)
        files = FileDescriptorSet.FromString(Path(file.name).read_bytes())
    return json.dumps(described(files), indent=1, ensure_ascii=False) + "\n"


def blocking(source: str) -> str:
    """Convert the source of the asyncio client to that of the blocking client."""
    for pattern, replacement in TO_BLOCK:
        source = re.sub(pattern, replacement, source, flags=re.MULTILINE)
    for step in (("check", "--fix", "--quiet"), ("format",)):
        source = subprocess.run(
            [BINARIES / "ruff", *step, "--stdin-filename", PROTOS / BLOCKING, "-"],
            check=True,
            cwd=PROTOS,
            input=source,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout
    return source


if __name__ == "__main__":
    generate()
