"""The script of ``docs/unlearn.md``: from a CSV of requests to certificates and a report."""

from __future__ import annotations

import csv
import re
import runpy
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import Server
from tests.test_docs import SERVER, blocks

import visual_memory
from visual_memory import Certificate, Client, Memory

[SCRIPT] = [block for block in blocks("docs/unlearn.md", "python") if "csv.DictReader" in block]
LABELS = ("accordion", "bonsai", "crab")
EACH = 3
FLAGS = ("--erasure", "files")
LONG = "ü" * 128
LETTERS = ("a", "b", "c", "d", "a,b.jpg", 'say "b"', LONG)


@pytest.fixture(scope="module")
def pictures(shared: Path) -> list[Path]:
    """Photographs of three labels."""
    folders = [shared / "data" / "caltech20" / label for label in LABELS]
    return [path for folder in folders for path in sorted(folder.iterdir())[:EACH]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose RAM no unlearning searches, which would take ten times as long."""
    server = Server(tmp_path_factory.mktemp("batches") / "data", *FLAGS)
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
        again.delete_memory(name)


@pytest.fixture
def letters(client: Client) -> Iterator[Memory]:
    """A memory of a few vectors."""
    name = f"m{uuid.uuid4().hex}"
    yield insert_letters(client, name)
    client.delete_memory(name)


def insert_letters(client: Client, name: str) -> Memory:
    letters = client.create_memory(name, dimension=len(LETTERS))
    vectors = np.eye(len(LETTERS), dtype=np.float32)
    letters.insert(vectors=vectors, labels=["letter"] * len(LETTERS), ids=LETTERS)
    return letters


def write_script(folder: Path, server: Server, memory: Memory) -> None:
    """Write the script of the document for a memory of the server."""
    script = SCRIPT.replace(SERVER, server.address).replace('"pets"', f'"{memory.name}"')
    (folder / "unlearn.py").write_text(script)


def begin(folder: Path, server: Server, memory: Memory) -> subprocess.Popen[str]:
    """Start the script in a process of its own."""
    write_script(folder, server, memory)
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


def counts(folder: Path) -> dict[str, list[str]]:
    """Read the report without the names of files."""
    return {request: [*row[:3], row[4]] for request, row in report(folder).items()}


def saved(folder: Path, request: str) -> list[Path]:
    """Return the certificate files of a request, as the report names them."""
    return [folder / name for name in report(folder)[request][3].split()]


def unlearnings(client: Client, memory: Memory) -> list[str]:
    return [each.name for each in client.operations(memory.name) if each.kind == "unlearn"]


def test_the_script_is_short_enough_to_be_read() -> None:
    assert len([line for line in SCRIPT.splitlines() if line]) <= 65


def test_each_request_has_its_certificate_and_its_row(
    server: Server, client: Client, pets: Memory, tmp_path: Path
) -> None:
    by_hand = pets.unlearn(["crab/2"])
    ask(
        tmp_path,
        "1,accordion/0",
        "2,bonsai/0",
        "1,accordion/1",
        "2,bonsai/0",
        "3,accordion/1",
        "4,nobody",
        "5,crab/2",
        "6/7 ü,crab/0",
        "6/7 ü,nobody",
        "8,crab/2",
        "8,crab/1",
    )

    assert run(tmp_path, server, pets) == (0, "")

    assert counts(tmp_path) == {
        "1": ["2", "2", "0", "yes"],
        "2": ["1", "1", "0", "yes"],
        "3": ["1", "1", "0", "yes"],
        "4": ["1", "0", "1", ""],
        "5": ["1", "1", "0", "yes"],
        "6/7 ü": ["2", "1", "1", "yes"],
        "8": ["2", "2", "0", "yes"],
    }
    assert saved(tmp_path, "4") == []
    [first] = map(Certificate.read, saved(tmp_path, "1"))
    assert first.count == 2
    assert all(first.holds(f"accordion/{number}") for number in (0, 1))
    assert not first.holds("bonsai/0")
    assert saved(tmp_path, "3") == saved(tmp_path, "1")
    assert [Certificate.read(path) for path in saved(tmp_path, "5")] == [by_hand]
    earlier, later = map(Certificate.read, saved(tmp_path, "8"))
    assert earlier == by_hand
    assert later.holds("crab/1")
    files = set((tmp_path / "certificates").iterdir())
    assert files == {path for request in report(tmp_path) for path in saved(tmp_path, request)}
    for path in files:
        assert client.verify(path, memory=pets.name).trusted
    gone = {"accordion/0", "accordion/1", "bonsai/0", "crab/0", "crab/1", "crab/2"}
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
        server.restart(*FLAGS, number=signal.SIGKILL)

    assert run(tmp_path, server, pets) == (0, "")

    assert counts(tmp_path) == {
        "1": ["1", "1", "0", "yes"],
        "2": ["2", "2", "0", "yes"],
        "3": ["1", "1", "0", "yes"],
    }
    with visual_memory.connect(server.address) as again:
        assert len(unlearnings(again, pets)) == 3
        for request in "123":
            [path] = saved(tmp_path, request)
            assert again.verify(path, memory=pets.name).trusted
        assert again.memory(pets.name).info().count == len(LABELS) * EACH - 4


def test_what_was_inserted_again_is_erased_again_and_what_was_altered_is_reported(
    server: Server, pets: Memory, pictures: list[Path], tmp_path: Path
) -> None:
    ask(tmp_path, "1,accordion/0")
    assert run(tmp_path, server, pets) == (0, "")
    pets.insert(images=pictures[:1], labels=["accordion"], ids=["accordion/0"])

    assert run(tmp_path, server, pets) == (0, "")

    assert counts(tmp_path)["1"] == ["1", "1", "0", "yes"]
    assert len(saved(tmp_path, "1")) == 2
    assert pets.info().count == len(LABELS) * EACH - 1

    path = saved(tmp_path, "1")[1]
    altered = path.read_text().replace('"found":0', '"found":1')
    path.write_text(altered)
    _, problems = run(tmp_path, server, pets)

    assert path.name in problems
    assert counts(tmp_path)["1"] == ["1", "0", "1", "no"]
    assert path in saved(tmp_path, "1")
    assert path.read_text() == altered


def test_one_unlearning_may_be_for_all_requests(
    server: Server, client: Client, pets: Memory, tmp_path: Path
) -> None:
    shared = pets.unlearn(["accordion/0", "bonsai/0", "crab/0"])
    ask(tmp_path, "1,accordion/0", "2,bonsai/0", "2,crab/0")

    assert run(tmp_path, server, pets) == (0, "")

    assert counts(tmp_path)["2"] == ["2", "2", "0", "yes"]
    assert saved(tmp_path, "1") == saved(tmp_path, "2")
    assert [Certificate.read(path) for path in saved(tmp_path, "2")] == [shared]
    assert len(unlearnings(client, pets)) == 1


def certified(client: Client, memory: Memory, folder: Path, request: str, *ids: str) -> bool:
    """Return True if the files of a request are of this memory, and name exactly these ids."""
    found = [client.verify(path, memory=memory.name) for path in saved(folder, request)]
    return {id for each in found for id in LETTERS if each.holds(id)} == set(ids)


def test_a_memory_that_was_made_again_under_its_name_has_certificates_of_its_own(
    server: Server, client: Client, letters: Memory, tmp_path: Path
) -> None:
    ask(tmp_path, "R,a")
    assert run(tmp_path, server, letters) == (0, "")
    client.delete_memory(letters.name)
    again = insert_letters(client, letters.name)

    assert run(tmp_path, server, again) == (0, "")

    assert counts(tmp_path)["R"] == ["1", "1", "0", "yes"]
    assert certified(client, again, tmp_path, "R", "a")


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ([("R", "b")], [("R", "c")]),
        ([("R", "b")], [("R", "b"), ("R", "a")]),
        ([("R.2", "c")], [("R", "a"), ("R", "b"), ("R.2", "c")]),
        ([("R", "a"), ("R", "b")], [("R", "a"), ("R", "b"), ("R.2", "c")]),
        ([("é" * 60, "b")], [("é" * 60, "b"), ("..", "c"), (".", "d")]),
    ],
    ids=["another id", "an older certificate", "R.2 before R", "R before R.2", "long and dots"],
)
def test_each_request_has_the_certificates_that_name_its_ids(
    server: Server,
    client: Client,
    letters: Memory,
    tmp_path: Path,
    first: list[tuple[str, str]],
    then: list[tuple[str, str]],
) -> None:
    letters.unlearn(["a"])
    for asked in (first, then):
        ask(tmp_path, *map(",".join, asked))

        assert run(tmp_path, server, letters) == (0, "")

        for request, (_, erased, _, verified) in counts(tmp_path).items():
            ids = [id for name, id in asked if name == request]
            assert (erased, verified) == (str(len(ids)), "yes")
            assert certified(client, letters, tmp_path, request, *ids)


def test_a_file_that_is_not_the_certificate_is_reported_and_the_others_are_saved(
    server: Server, client: Client, letters: Memory, tmp_path: Path
) -> None:
    ask(tmp_path, "1,a", "2,b", "3,c")
    assert run(tmp_path, server, letters) == (0, "")
    [one], [two], [three] = (saved(tmp_path, request) for request in "123")
    two.write_bytes(one.read_bytes())
    three.unlink()
    three.symlink_to("nowhere")
    ask(tmp_path, "1,a", "2,b", "3,c", "4,d")

    code, problems = run(tmp_path, server, letters)

    assert code == 0
    assert [row[3] for row in counts(tmp_path).values()] == ["yes", "no", "no", "yes"]
    assert [path.name in problems for path in (one, two, three)] == [False, True, True]
    assert certified(client, letters, tmp_path, "4", "d")
    assert two.read_bytes() == one.read_bytes()
    assert not three.exists()


NEEDED = "every line needs a request and an id"


@pytest.mark.parametrize(
    ("text", "where", "why"),
    [
        ("request,id\n1,a\n2,\n", "line 3", NEEDED),
        ("request,id\n1,a\n2\n", "line 3", NEEDED),
        ("request,id\n,a\n", "line 2", NEEDED),
        ("1,a\n2,b\n", "line 2", NEEDED),
        ("request,id\n1,a\n2,a,b.jpg\n", "line 3", NEEDED),
        ("request,id\n1,a\n2,b\0\n", "line 3", NEEDED),
        (f"request,id\n1,a\n2,{'b' * 257}\n", "line 3", NEEDED),
        (f"request,id\n1,a\n2,{'ü' * 129}\n", "line 3", NEEDED),
        ('request,id\n1,"a\n2,b"\n', "line 3", NEEDED),
        ("request,id,id\n1,a,b\n", "line 2", NEEDED),
        ("request,id,id\n1,a,b,a\n", "line 2", NEEDED),
        ("request,id,request\n1,a,2\n", "line 2", NEEDED),
        ('request,id\n1,a\n2,"a\n3,b\n', "after line 2", "unexpected end of data"),
        ('request,id\n1,a\n2,"a"b\n', "after line 2", "expected after"),
        ("request,id\n1,a\n2,\udce9\n", "after line 0", "can't decode byte 0xe9"),
    ],
)
def test_a_line_that_is_not_right_ends_it_before_anything_is_erased(
    server: Server, client: Client, letters: Memory, tmp_path: Path, text: str, where: str, why: str
) -> None:
    (tmp_path / "requests.csv").write_text(text, errors="surrogateescape")
    write_script(tmp_path, server, letters)

    with chdir(tmp_path), pytest.raises(SystemExit) as ended:
        runpy.run_path("unlearn.py")

    problem = ended.value.code
    assert isinstance(problem, str)  # so Python prints it and exits with 1
    assert re.match(rf"requests.csv, {where}: .*{re.escape(why)}", problem)
    assert unlearnings(client, letters) == []
    assert letters.info().count == len(LETTERS)


def test_ids_may_have_256_bytes_commas_and_quotes_and_lines_more_columns(
    server: Server, letters: Memory, tmp_path: Path
) -> None:
    lines = ("note,id,request", f",{LONG},1", 'x,"a,b.jpg",1', '"y, z","say ""b""",2')
    (tmp_path / "requests.csv").write_text("\n".join(lines))

    assert run(tmp_path, server, letters) == (0, "")

    assert [row[:3] for row in report(tmp_path).values()] == [["2", "2", "0"], ["1", "1", "0"]]
    assert {entry.id for entry in letters.entries()} == {"a", "b", "c", "d"}
