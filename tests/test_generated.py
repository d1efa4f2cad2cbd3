"""The stubs are what the protos say, and the blocking client is what the one for asyncio says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROTOS = Path(__file__).resolve().parents[1] / "protos"
WRITE = "import sys, pathlib, generate; generate.generate(pathlib.Path(sys.argv[1]))"


def stubs(folder: Path) -> dict[str, str]:
    paths = [*folder.rglob("*_pb2*.py"), *folder.rglob("*_pb2*.pyi")]
    return {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in paths}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a fresh run writes."""
    folder = tmp_path_factory.mktemp("written")
    subprocess.run([sys.executable, "-B", "-c", WRITE, folder], check=True, cwd=PROTOS)
    return folder


def test_the_stubs_are_what_a_fresh_run_writes(written: Path) -> None:
    assert stubs(written) == stubs(PROTOS)


def test_the_blocking_client_is_what_a_fresh_run_writes(written: Path) -> None:
    client = "visual_memory/client.py"

    assert (written / client).read_text(encoding="utf-8") == (PROTOS / client).read_text(
        encoding="utf-8"
    )


def test_every_proto_has_its_four_stubs() -> None:
    kinds = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi")
    wanted = {
        f"{proto.relative_to(PROTOS).with_suffix('')}{kind}"
        for proto in PROTOS.rglob("*.proto")
        for kind in kinds
    }

    assert stubs(PROTOS).keys() == wanted
