"""``visual-memory reranker``: the re-ranker of crops, and reasons not to start."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from tests.conftest import to_picture

from visual_memory.v1 import reranker_pb2_grpc
from visual_memory_service.convert.reranking import from_candidates, to_ranking
from visual_memory_service.decisions.reranking import Candidate

COMMAND = [sys.executable, "-m", "visual_memory_service", "reranker"]
CHAT = ("chat", "--model", "m")


def refused(*arguments: object, code: int = 1, **environment: str) -> str:
    """Check that a re-ranker does not start, and return its last line."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        env={**os.environ, **environment},
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (code, "")
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    assert code == 2 or len(lines) == 1
    return lines[-1]


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[reranker_pb2_grpc.RerankerStub]:
    """A running re-ranker of crops, with the default embedder."""
    graphs = tmp_path_factory.mktemp("graphs")
    flags = ["--listen", "127.0.0.1:0", "--graph-cache", str(graphs), "--vector-cache-mib", "1"]
    command = [*COMMAND, "crops", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().removeprefix("listening on ").strip()
        with grpc.insecure_channel(address) as channel:
            yield reranker_pb2_grpc.RerankerStub(channel)
        process.terminate()
        assert process.wait(30) == 0
    assert [path.suffix for path in sorted(graphs.iterdir())] == [".onnx", ".sha256"]


def test_what_is_the_same_picture_is_the_most_alike(crops: reranker_pb2_grpc.RerankerStub) -> None:
    pictures = [to_picture(seed, (300, 200), "JPEG") for seed in range(4)]
    candidates = [Candidate(f"id{at}", "x", 0.1, data) for at, data in enumerate(pictures)]
    candidates.insert(0, Candidate("blind", "x", 0.1, b""))

    for picture, best in zip(pictures, candidates[1:], strict=True):
        ranking = to_ranking(crops.Rerank(from_candidates(picture, candidates)), candidates)

        assert list(ranking)[:2] == ["blind", best.id]


def test_a_photograph_finds_its_kind(crops: reranker_pb2_grpc.RerankerStub, shared: Path) -> None:
    folder = shared / "data" / "natural16"
    labels = ["airplane", "bear", "bicycle", "clock"]
    candidates = [
        Candidate(f"{label}{number}", label, 0.5, data.read_bytes())
        for number in range(3)
        for label in labels
        for data in [sorted((folder / label).iterdir())[number]]
    ]

    for label in labels:
        query = sorted((folder / label).iterdir())[5].read_bytes()
        ranking = to_ranking(crops.Rerank(from_candidates(query, candidates)), candidates)

        assert {id.rstrip("012") for id in list(ranking)[:3]} == {label}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("crops", "--embedder", "nope"), "No embedder is named 'nope': choose one of "),
        (("crops", "--embedder", "onnx:nowhere"), "The weights of 'onnx:nowhere' are missing"),
        (("crops", "--threads", "0"), "threads must be at least 1, but is 0."),
        (("crops", "--graph-cache", __file__), "cannot keep the network's graph: "),
        ((*CHAT, "--url", "ftp://x/v1"), "with http or https, but is "),
        ((*CHAT, "--url", "http://u:p@x/v1"), "url must not hold a password; "),
        ((*CHAT, "--url", "http://x/v1", "--candidates", "0"), "candidates must be at least 1"),
        ((*CHAT, "--url", "http://x/v1", "--listen", "here"), "listen must be HOST:PORT"),
    ],
)
def test_what_cannot_be_served_is_refused_in_a_sentence(
    arguments: tuple[str, ...], sentence: str
) -> None:
    said = refused(*arguments)

    assert sentence in said
    assert said.endswith(".")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((), "the following arguments are required: KIND"),
        (("nope",), "invalid choice: 'nope'"),
        (("chat",), "the following arguments are required: --url, --model"),
        (("crops", "--vector-cache-mib", "-1"), "must not be negative, but is -1"),
        ((*CHAT, "--url", "http://x", "--chat-timeout", "0"), "must be a positive number"),
    ],
)
def test_wrong_usage_exits_2(arguments: tuple[str, ...], problem: str) -> None:
    assert problem in refused(*arguments, code=2)


def test_a_port_in_use_is_refused() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"

        said = refused(*CHAT, "--url", "http://x/v1", "--listen", address)

    assert said.startswith(f"{address} cannot be listened on; is another program using that port?")


def test_a_key_that_cannot_be_sent_is_refused_and_not_shown() -> None:
    said = refused(*CHAT, "--url", "http://x/v1", VISUAL_MEMORY_CHAT_KEY="my secret")

    assert said == "VISUAL_MEMORY_CHAT_KEY must be visible ASCII characters without blanks."


@pytest.mark.parametrize("module", ["structlog", "grpc_reflection", "onnxruntime"])
def test_a_library_that_is_not_installed_is_named_with_its_extra(
    module: str, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(f"import sys; sys.modules[{module!r}] = None")

    said = refused("crops", "--graph-cache", tmp_path, PYTHONPATH=str(tmp_path))

    assert module in said
    assert "pip install -e '.[cpu]'" in said
