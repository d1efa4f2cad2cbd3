"""Every refusal is in the table, with more details than its code."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2

from visual_memory_embedders.errors import EmbeddingRefusal, UndecodableImage
from visual_memory_index.errors import (
    BadFilter,
    MemoryRefusal,
    RequestReused,
    WrongDimension,
    WrongOffset,
)
from visual_memory_service.errors import (
    BadField,
    EmbedderNotAllowed,
    RequestRefusal,
    RerankingRefusal,
    ServiceFailed,
    TooLarge,
)
from visual_memory_service.status import CODES, REFUSALS, answer

# Starts a thread where the address space has no room for its stack.
NO_ROOM = """
import os, resource, threading
from visual_memory_service.status import foreseen

with open("/proc/self/statm") as statm:
    used = int(statm.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
_, most = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 20), most))
try:
    threading.Thread(target=print).start()
except Exception as error:
    print(type(foreseen(error)).__name__)
"""
ROOTS = (MemoryRefusal, EmbeddingRefusal, RequestRefusal, RerankingRefusal)


def leaves(kind: type[Exception]) -> Iterator[type[Exception]]:
    below = kind.__subclasses__()
    if not below:
        yield kind
    for each in below:
        yield from leaves(each)


def test_every_root_is_answered() -> None:
    assert set(REFUSALS) == set(ROOTS)


@pytest.mark.parametrize(
    "leaf", [leaf for root in ROOTS for leaf in leaves(root)], ids=lambda leaf: str(leaf.__name__)
)
def test_every_leaf_has_a_code(leaf: type[Exception]) -> None:
    assert isinstance(CODES[leaf], grpc.StatusCode)


def test_no_row_is_left_over() -> None:
    assert set(CODES) == {ServiceFailed, *(leaf for root in ROOTS for leaf in leaves(root))}


@pytest.mark.parametrize(
    ("refusal", "code", "reason"),
    [
        (BadField("k", "must be at least 1"), grpc.StatusCode.INVALID_ARGUMENT, "BAD_FIELD"),
        (TooLarge(2, 1), grpc.StatusCode.INVALID_ARGUMENT, "TOO_LARGE"),
        (WrongDimension(3, 4), grpc.StatusCode.INVALID_ARGUMENT, "WRONG_DIMENSION"),
        (ServiceFailed(), grpc.StatusCode.INTERNAL, "SERVICE_FAILED"),
    ],
)
def test_a_refusal_is_told_with_its_code_and_reason(
    refusal: Exception, code: grpc.StatusCode, reason: str
) -> None:
    status = answer(refusal)

    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (status.code, status.message) == (code.value[0], str(refusal))
    assert (info.reason, info.domain) == (reason, "visual-memory")


@pytest.mark.parametrize(
    ("refusal", "field"),
    [
        (BadField("entries[3].vector", "must be finite"), "entries[3].vector"),
        (BadFilter(4, "a value is missing"), "filter"),
        (UndecodableImage(2, "is empty"), "images[2]"),
        (WrongDimension(3, 4), "vectors"),
        (WrongDimension(3, 4, "domain_mean"), "domain_mean"),
        (WrongOffset(3, 4), "offset"),
        (RequestReused("r"), "request_id"),
        (EmbedderNotAllowed("onnx:a", ["b"]), "embedder"),
    ],
)
def test_a_refusal_names_the_field_at_fault(refusal: Exception, field: str) -> None:
    bad = error_details_pb2.BadRequest()

    assert answer(refusal).details[1].Unpack(bad)
    assert [violation.field for violation in bad.field_violations] == [field]


def test_status_codes_are_named_nowhere_else() -> None:
    package = Path(__file__).parents[2] / "service" / "visual_memory_service"

    naming = {file.name for file in package.rglob("*.py") if "StatusCode." in file.read_text()}

    # The standard health service has a code of its own.
    assert naming == {"status.py", "health.py"}


def test_a_thread_that_the_system_has_no_memory_for_is_a_lack_of_memory() -> None:
    program = [sys.executable, "-c", NO_ROOM]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60)

    assert (done.stdout, done.returncode) == ("OutOfMemory\n", 0), done.stderr
