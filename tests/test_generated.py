"""The stubs are what the protos say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROTOS = Path(__file__).resolve().parents[1] / "protos"
WRITE = "import sys, pathlib, generate; generate.generate(pathlib.Path(sys.argv[1]))"


def stubs(folder: Path) -> dict[str, str]:
    paths = [*folder.rglob("*_pb2*.py"), *folder.rglob("*_pb2*.pyi")]
    return {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in paths}


def test_the_stubs_are_what_a_fresh_run_writes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-B", "-c", WRITE, tmp_path], check=True, cwd=PROTOS)

    assert stubs(tmp_path) == stubs(PROTOS)


def test_every_proto_has_its_four_stubs() -> None:
    kinds = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi")
    wanted = {
        f"{proto.relative_to(PROTOS).with_suffix('')}{kind}"
        for proto in PROTOS.rglob("*.proto")
        for kind in kinds
    }

    assert stubs(PROTOS).keys() == wanted
