"""The script of ``docs/unlearn.md``: from a CSV of requests to certificates and a report."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import Server
from tests.test_docs import SERVER, blocks

import visual_memory
from visual_memory import Certificate, Client, Memory

[SCRIPT] = [block for block in blocks("docs/unlearn.md", "python") if "csv.DictReader" in block]
LABELS = ("accordion", "bonsai", "crab")
EACH = 8


@pytest.fixture(scope="module")
def pictures(shared: Path) -> list[Path]:
    """Photographs of three labels."""
    folders = [shared / "data" / "caltech20" / label for label in LABELS]
    return [path for folder in folders for path in sorted(folder.iterdir())[:EACH]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("batches") / "data")
    yield server
    assert server.end() == 0


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with visual_memory.connect(server.address) as client:
        yield client


@pytest.fixture
def pets(server: Server, client: Client, pictures: list[Path]) -> Iterator[Memory]:
    """A memory that keeps its pictures; the ids are ``accordion/0`` and so on."""
    name = f"m{uuid.uuid4().hex}"
    pets = client.create_memory(name, embedder="efficientnet-lite0", store_images=True)
    labels = [path.parent.name for path in pictures]
    ids = [f"{label}/{number % EACH}" for number, label in enumerate(labels)]
    pets.insert(images=pictures, labels=labels, ids=ids)
    yield pets
    with visual_memory.connect(server.address) as again:  # it may listen elsewhere by now
        again.delete_memory(name)  # what another memory holds, too, would be found in RAM


def begin(folder: Path, server: Server, memory: Memory) -> subprocess.Popen[str]:
    """Start the script of the document in a process of its own."""
    script = SCRIPT.replace(SERVER, server.address).replace('"pets"', f'"{memory.name}"')
    (folder / "unlearn.py").write_text(script)
    command = [sys.executable, "-u", "-W", "error", "unlearn.py"]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run(folder: Path, server: Server, memory: Memory) -> tuple[int, str]:
    """Run the script; return its exit code and its standard error."""
    with begin(folder, server, memory) as process:
        _, problems = process.communicate()
    return process.returncode, problems


def ask(folder: Path, *lines: str) -> None:
    """Write the requests as a spreadsheet would save them."""
    text = "".join(f"{line}\r\n" for line in ("request,id", *lines))
    (folder / "requests.csv").write_text(text, encoding="utf-8-sig", newline="")


def report(folder: Path) -> dict[str, list[str]]:
    """Read the report: by request, asked, erased, unknown, certificates and verified."""
    with (folder / "report.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["request", "asked", "erased", "unknown", "certificates", "verified"]
    return {row[0]: row[1:] for row in rows}


def saved(folder: Path) -> dict[str, Certificate]:
    paths = (folder / "certificates").iterdir()
    return {path.name: Certificate.read(path) for path in sorted(paths)}


def unlearnings(client: Client, memory: Memory) -> list[str]:
    return [each.name for each in client.operations(memory.name) if each.kind == "unlearn"]


def test_the_script_is_short_enough_to_be_read() -> None:
    assert len([line for line in SCRIPT.splitlines() if line]) <= 65


def test_each_request_has_its_certificate_and_its_row(
    server: Server, client: Client, pets: Memory, tmp_path: Path
) -> None:
    by_hand = pets.unlearn(["crab/7"])
    ask(
        tmp_path,
        "1,accordion/0",
        "2,bonsai/0",
        "1,accordion/1",
        "2,bonsai/0",
        "3,accordion/1",
        "4,nobody",
        "5,crab/7",
        "6/7 ü,crab/0",
        "6/7 ü,nobody",
        "8,crab/7",
        "8,crab/1",
    )

    assert run(tmp_path, server, pets) == (0, "")

    assert report(tmp_path) == {
        "1": ["2", "2", "0", "1.json", "yes"],
        "2": ["1", "1", "0", "2.json", "yes"],
        "3": ["1", "1", "0", "3.json", "yes"],
        "4": ["1", "0", "1", "", ""],
        "5": ["1", "1", "0", "5.json", "yes"],
        "6/7 ü": ["2", "1", "1", "6%2F7%20%C3%BC.json", "yes"],
        "8": ["2", "2", "0", "8.json 8.2.json", "yes"],
    }
    certificates = saved(tmp_path)
    assert certificates["1.json"].count == 2
    assert all(certificates["1.json"].holds(f"accordion/{number}") for number in (0, 1))
    assert not certificates["1.json"].holds("bonsai/0")
    assert certificates["3.json"] == certificates["1.json"]
    assert certificates["5.json"] == certificates["8.json"] == by_hand
    assert certificates["8.2.json"].holds("crab/1")
    for name in certificates:
        assert client.verify(tmp_path / "certificates" / name, memory=pets.name).trusted
    gone = {"accordion/0", "accordion/1", "bonsai/0", "crab/0", "crab/1", "crab/7"}
    left = {entry.id for entry in pets.entries()}
    assert len(left) == len(LABELS) * EACH - len(gone)
    assert not gone & left
    assert len(unlearnings(client, pets)) == 1 + 4


def test_a_second_run_changes_nothing(
    server: Server, client: Client, pets: Memory, tmp_path: Path
) -> None:
    ask(tmp_path, "1,accordion/0", "2,bonsai/0", "3,nobody")
    assert run(tmp_path, server, pets) == (0, "")
    digest, begun = pets.info().digest, unlearnings(client, pets)
    files = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}

    assert run(tmp_path, server, pets) == (0, "")

    assert (pets.info().digest, unlearnings(client, pets)) == (digest, begun)
    assert {path: path.read_bytes() for path in files} == files


@pytest.mark.parametrize("also_the_server", [False, True])
def test_a_run_that_was_killed_goes_on(
    server: Server, client: Client, pets: Memory, tmp_path: Path, also_the_server: bool
) -> None:
    ask(tmp_path, "1,accordion/0", "2,bonsai/0", "2,bonsai/1", "3,crab/0")
    with begin(tmp_path, server, pets) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("1 1 1 0")
        while len(unlearnings(client, pets)) < 2:
            assert process.poll() is None
        process.kill()
    assert not (tmp_path / "report.csv").exists()
    if also_the_server:
        server.restart(number=signal.SIGKILL)

    assert run(tmp_path, server, pets) == (0, "")

    assert report(tmp_path) == {
        "1": ["1", "1", "0", "1.json", "yes"],
        "2": ["2", "2", "0", "2.json", "yes"],
        "3": ["1", "1", "0", "3.json", "yes"],
    }
    with visual_memory.connect(server.address) as again:
        assert len(unlearnings(again, pets)) == 3
        assert again.memory(pets.name).info().count == len(LABELS) * EACH - 4


def test_what_was_inserted_again_is_erased_again_and_what_was_altered_is_reported(
    server: Server, pets: Memory, pictures: list[Path], tmp_path: Path
) -> None:
    ask(tmp_path, "1,accordion/0")
    assert run(tmp_path, server, pets) == (0, "")
    pets.insert(images=pictures[:1], labels=["accordion"], ids=["accordion/0"])

    assert run(tmp_path, server, pets) == (0, "")

    assert report(tmp_path)["1"] == ["1", "1", "0", "1.json 1.2.json", "yes"]
    assert pets.info().count == len(LABELS) * EACH - 1

    path = tmp_path / "certificates" / "1.2.json"
    altered = path.read_text().replace('"found":0', '"found":1')
    path.write_text(altered)
    _, problems = run(tmp_path, server, pets)

    assert "1.2.json" in problems
    assert report(tmp_path)["1"] == ["1", "0", "1", "1.json 1.2.json", "no"]
    assert path.read_text() == altered


def test_one_unlearning_may_be_for_all_requests(
    server: Server, client: Client, pets: Memory, tmp_path: Path
) -> None:
    shared = pets.unlearn(["accordion/0", "bonsai/0", "crab/0"])
    ask(tmp_path, "1,accordion/0", "2,bonsai/0", "2,crab/0")

    assert run(tmp_path, server, pets) == (0, "")

    assert report(tmp_path)["2"] == ["2", "2", "0", "2.json", "yes"]
    assert saved(tmp_path) == {"1.json": shared, "2.json": shared}
    assert len(unlearnings(client, pets)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "request,id\n1,accordion/0\n2,\n",
        "request,id\n,accordion/0\n",
        "1,accordion/0\n2,bonsai/0\n",
    ],
)
def test_a_line_that_lacks_something_ends_it_before_anything_is_erased(
    server: Server, client: Client, pets: Memory, tmp_path: Path, text: str
) -> None:
    (tmp_path / "requests.csv").write_text(text)

    code, problems = run(tmp_path, server, pets)

    assert code == 1
    assert "every line needs a request and an id" in problems
    assert "Traceback" not in problems
    assert unlearnings(client, pets) == []
