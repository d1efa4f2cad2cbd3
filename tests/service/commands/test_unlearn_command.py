"""``visual-memory unlearn``: the form of the file of ids, and where the certificate goes."""

from __future__ import annotations

import json
import socket
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import Server, Start
from tests.service.conftest import Done, Run

import visual_memory
from visual_memory import Certificate, Memory


@pytest.fixture(scope="module")
def server(server_of_files: Server) -> Server:
    return server_of_files


@pytest.fixture
def people(server: Server) -> Iterator[Memory]:
    """A memory of six vectors, with the ids ``a person 0`` and so on."""
    with visual_memory.connect(server.address) as client:
        people = client.create_memory(f"m{uuid.uuid4().hex}", dimension=8)
        insert(people, range(6))
        yield people
        client.delete_memory(people.name)  # what another memory holds, too, would be named


def insert(people: Memory, numbers: range) -> None:
    rows = np.random.default_rng(0).standard_normal((len(numbers), 8))
    ids = [f"a person {number}" for number in numbers]
    people.insert(vectors=rows, labels=["cat"] * len(ids), ids=ids)


@pytest.fixture
def run(command: Run, server: Server, people: Memory) -> Run:
    """Runs ``unlearn`` with a file of these ids."""
    where = ("--server", server.address, "--ids-file", "ids.txt", "--certificate", "out.json")

    def run(ids: bytes, *arguments: str) -> Done:
        Path("ids.txt").write_bytes(ids)
        return command("unlearn", people.name, *where, *arguments)

    return run


def unlearnings(server: Server, people: Memory) -> int:
    with visual_memory.connect(server.address) as client:
        return sum(each.kind == "unlearn" for each in client.operations(people.name))


@pytest.mark.parametrize("apply", [[], ["--apply"]])
@pytest.mark.parametrize(
    ("ids", "sentence"),
    [
        (b"", "names no id"),
        (b"\n\r\n\n", "names no id"),
        (b"a person 0\na person 1\r\n", "lines that end with a carriage return and lines that do"),
        (b"\xff\xd8\xff\xe0 JFIF", "is no text in UTF-8"),
        (b"a person 0\0a person 1\n", "is no text"),
        (b"x" * 257, "1 to 256 UTF-8 bytes"),
        (b"".join(b"%d\n" % number for number in range(1_000_001)), "at most 1,000,000"),
    ],
    ids=["empty", "blank lines", "two line ends", "a picture", "NUL", "a long line", "too many"],
)
def test_what_is_no_list_of_ids_is_refused_and_nothing_changed(
    run: Run, server: Server, people: Memory, ids: bytes, sentence: str, apply: list[str]
) -> None:
    done = run(ids, *apply)

    assert (done.returncode, done.stdout) == (1, "")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert people.info().count == 6
    assert unlearnings(server, people) == 0
    assert not Path("out.json").exists()


def test_without_apply_it_counts_each_id_once_and_names_what_is_unknown(
    run: Run, server: Server, people: Memory
) -> None:
    done = run(b"a person 0\r\na person 0\r\nnobody\r\n\r\na person 1")

    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        f"2 entries of {people.name} would be erased for good.",
        "1 id neither stored nor erased before: nobody.",
        "Nothing was changed; --apply with --allow-missing does it.",
    ]
    assert people.info().count == 6
    assert unlearnings(server, people) == 0
    assert not Path("out.json").exists()


def test_where_the_certificate_cannot_be_saved_the_way_to_it_is_told(
    run: Run, people: Memory
) -> None:
    where = "/proc/out.json"  # where no file can be made

    said = run(b"a person 0", "--apply", "--certificate", where)
    again = run(b"a person 0", "--apply")  # with out.json

    assert said.returncode == 1
    assert said.stderr.splitlines() == [
        f"No such file: {where}.",
        "The entries are erased; the same command saves their certificate once the file can be "
        "written.",
    ]
    assert people.info().count == 5
    assert again.returncode == 0
    assert Certificate.read("out.json").count == 1


def test_an_unknown_id_refuses_all_unless_it_is_allowed_to_be_missing(
    run: Run, server: Server, people: Memory
) -> None:
    refusal = run(b"a person 0\na preson 1\n", "--apply", "--json")
    count, begun = people.info().count, unlearnings(server, people)
    shown = json.loads(run(b"a person 0\na preson 1\n", "--json").stdout)
    done = run(b"a person 0\na preson 1\n", "--apply", "--json", "--allow-missing")

    assert (refusal.returncode, refusal.stdout) == (1, "")
    assert refusal.stderr == (
        "1 id neither stored nor erased before, so nothing was erased: a preson 1; correct the "
        "file, or add --allow-missing, which skips unknown ids.\n"
    )
    assert (count, begun) == (6, 0)
    assert (done.returncode, done.stderr) == (0, "")
    for told in (shown, json.loads(done.stdout)):
        assert (told["entries"], told["unknown"], told["unknown_ids"]) == (1, 1, ["a preson 1"])
        assert told["not_ended"] == []


def test_a_dry_run_needs_no_certificate(command: Run, server: Server, people: Memory) -> None:
    Path("ids.txt").write_text("a person 0\n")
    where = ("unlearn", people.name, "--server", server.address, "--ids-file", "ids.txt")

    shown, wrong = command(*where), command(*where, "--apply")

    assert (shown.returncode, shown.stderr) == (0, "")
    assert wrong.returncode == 2
    assert "required with --apply: --certificate" in wrong.stderr
    assert people.info().count == 6


def test_what_is_unknown_is_named_too_where_the_others_are_erased(run: Run) -> None:
    erased = run(b"a person 0\nnobody\nno one\n", "--apply", "--allow-missing")
    again = run(b"a person 0\nnobody\nno one\n", "--apply", "--allow-missing")

    for done in (erased, again):
        assert done.returncode == 0
        assert (
            done.stdout.splitlines()[1] == "2 ids neither stored nor erased before: no one, nobody."
        )


def test_what_holds_the_same_is_named_before_it_is_erased_and_in_the_proof(
    command: Run, start: Start, tmp_path: Path
) -> None:
    server = start()  # which searches its RAM
    where = ("--server", server.address, "--ids-file", "ids.txt", "--certificate", "out.json")
    Path("ids.txt").write_text("a person 0\n")
    with visual_memory.connect(server.address) as client:
        people = client.create_memory("people", dimension=8)
        insert(people, range(6))
        client.backup(people.name, tmp_path / "before")
        copy = client.copy(people.name, f"copy-of-{people.name}").name
    shown = command("unlearn", people.name, *where).stdout
    told = json.loads(command("unlearn", people.name, *where, "--json").stdout)
    done = command("unlearn", people.name, *where, "--apply").stdout
    verified = command("verify", "out.json").stdout

    stays = f"The same is also in {copy}, where it stays: unlearn it there.\n"
    assert stays in shown
    assert f"1 backup of {people.name} may hold it, the last of 20" in shown
    assert (told["also_in"], len(told["backups"])) == ([copy], 1)
    assert f" but what was also in {copy}.\n" in done
    assert stays in done
    assert f"looked for afterwards, and none found but what was also in {copy} in:\n" in verified
    assert f"- What was erased was also in {copy}, and stayed there.\n" in verified


def test_the_same_ids_again_get_the_same_certificate_unless_they_came_back(
    run: Run, people: Memory
) -> None:
    ids = b"a person 0\na person 1\na person 1\nnobody\n"
    done = run(ids, "--apply", "--allow-missing", "--json")

    first = Certificate.read("out.json")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {
        "memory": people.name,
        "entries": 2,
        "unknown": 1,
        "unknown_ids": ["nobody"],
        "not_ended": [],
        "erased_before": 0,
        "erased_by": {},
        "applied": True,
        "operation": first.operation,
        "certificate": "out.json",
        "signer": first.signer,
        "also_in": [],
        "not_asked": [],
        "backups": [],
    }
    assert [first.holds(f"a person {number}") for number in range(3)] == [True, True, False]
    assert not first.holds("nobody")
    assert people.info().count == 4

    written = Path("out.json").stat().st_mtime_ns
    again = run(ids, "--apply", "--allow-missing")
    assert (again.returncode, again.stderr) == (0, "")
    assert Path("out.json").stat().st_mtime_ns == written
    assert Certificate.read("out.json") == first
    assert run(ids, "--apply", "--allow-missing", "--force").returncode == 0

    insert(people, range(1))
    refused = run(ids, "--apply", "--allow-missing")
    assert (refused.returncode, "--force" in refused.stderr) == (1, True)
    again = run(ids, "--apply", "--allow-missing", "--force")
    assert "out.json does not cover 1 id" in again.stderr
    second = Certificate.read("out.json")
    assert (second.count, second.holds("a person 0")) == (1, True)
    assert people.info().count == 4


def test_another_certificate_than_the_one_that_is_due_is_not_overwritten(
    run: Run, people: Memory
) -> None:
    assert run(b"a person 0\n", "--apply").returncode == 0
    assert run(b"a person 1\n", "--apply", "--certificate", "other.json").returncode == 0
    first = Certificate.read("out.json")

    done = run(b"a person 1\n", "--apply")

    assert (done.returncode, "out.json exists already" in done.stderr) == (1, True)
    assert Certificate.read("out.json") == first


def test_without_apply_it_says_what_was_erased_before(run: Run, people: Memory) -> None:
    assert people.unlearn(["nobody"], allow_missing=True, wait=False).result is not None
    assert run(b"a person 0\na person 1\n", "--apply").returncode == 0
    first = Certificate.read("out.json")

    done = run(b"a person 0\na person 1\nnobody\na person 2\n", "--certificate", "next.json")
    told = run(b"a person 0\nnobody\n", "--json")

    assert done.stdout.splitlines() == [
        f"1 entry of {people.name} would be erased for good.",
        f"2 ids erased before, on {first.time:%Y-%m-%d} by {first.operation}: a person 0, "
        "a person 1.",
        "1 id neither stored nor erased before: nobody.",
        "Nothing was changed; --apply with --allow-missing does it.",
    ]
    assert json.loads(told.stdout)["erased_before"] == 1


def test_what_two_certificates_name_is_told_alike_before_and_after(
    run: Run, people: Memory
) -> None:
    assert run(b"a person 0\n", "--apply", "--certificate", "first.json").returncode == 0
    assert run(b"a person 1\n", "--apply", "--certificate", "second.json").returncode == 0
    first, second = Certificate.read("first.json"), Certificate.read("second.json")
    ids = b"a person 0\na person 1\nnobody\n"

    apply = ("--apply", "--allow-missing")
    shown, done = run(ids), run(ids, *apply)
    told = [json.loads(run(ids, *more, "--json").stdout) for more in ((), apply)]

    days = [f"on {each.time:%Y-%m-%d} by {each.operation}" for each in (first, second)]
    assert f"1 id erased before, {days[0]}: a person 0.\n" in shown.stdout
    assert f"1 id erased before, {days[1]}: a person 1.\n" in shown.stdout
    assert f"1 entry of {people.name} erased before, {days[1]}; " in done.stdout
    assert f"1 id erased before, {days[0]}: a person 0.\n" in done.stdout
    for out in (shown, done):
        assert "1 id neither stored nor erased before: nobody.\n" in out.stdout
    assert (shown.returncode, shown.stderr) == (0, "")
    assert done.returncode == 1
    assert f"out.json does not cover 1 id of the file, erased before by {first.operation}." in (
        done.stderr
    )
    assert f"visual-memory unlearn {people.name} --ids-file FILE" in done.stderr
    assert Certificate.read("out.json") == second
    for each in told:
        by = {first.operation: ["a person 0"], second.operation: ["a person 1"]}
        assert (each["erased_by"], each["erased_before"], each["unknown"]) == (by, 2, 1)


def test_what_was_erased_before_is_named_beside_what_is_erased_now(
    run: Run, people: Memory
) -> None:
    assert run(b"a person 0\n", "--apply", "--certificate", "first.json").returncode == 0
    first = Certificate.read("first.json")
    ids = b"a person 0\na person 2\n"

    shown, done = run(ids), run(ids, "--apply")

    sentence = f"1 id erased before, on {first.time:%Y-%m-%d} by {first.operation}: a person 0.\n"
    assert f"1 entry of {people.name} would be erased for good.\n{sentence}" in shown.stdout
    assert f"1 entry of {people.name} erased; " in done.stdout
    assert done.stdout.endswith("visual-memory verify checks it.\n")
    assert sentence in done.stdout
    assert (done.returncode, "out.json does not cover 1 id" in done.stderr) == (1, True)
    assert not Certificate.read("out.json").holds("a person 0")
    assert run(b"a person 0\n", "--apply", "--certificate", "again.json").returncode == 0
    assert Certificate.read("again.json") == first


def test_an_id_that_came_back_is_not_told_as_erased_before(run: Run, people: Memory) -> None:
    assert run(b"a person 0\na person 1\n", "--apply").returncode == 0
    insert(people, range(1))
    many = "".join(f"nobody {number}\n" for number in range(101))  # a dry run lists 100

    shown = run(f"a person 0\na person 1\n{many}".encode(), "--force").stdout

    assert f"1 entry of {people.name} would be erased for good.\n1 id erased before, " in shown
    assert ": a person 1.\n101 ids neither stored nor erased before: " in shown


def test_what_another_client_erases_meanwhile_gets_its_certificate(
    run: Run, people: Memory
) -> None:
    for number in range(3):
        people.unlearn([f"a person {number}"], wait=False)
    done = run(b"a person 2\na person 1\n", "--apply")

    latest = Certificate.read("out.json")
    assert latest.holds("a person 2")
    assert (done.returncode, done.stderr.count("does not cover 1 id")) == (1, 1)


def test_a_certificate_that_is_there_is_refused_before_anything_is_erased(
    run: Run, people: Memory
) -> None:
    Path("out.json").write_text("something else")

    done = run(b"a person 0\n", "--apply")

    assert done.returncode == 1
    assert "out.json exists already" in done.stderr
    assert people.info().count == 6
    assert Path("out.json").read_text() == "something else"


def test_the_order_of_the_ids_and_a_byte_order_mark_do_not_matter(run: Run, people: Memory) -> None:
    assert run("\ufeffa person 0\na person 1\n".encode(), "--apply").returncode == 0
    first = Certificate.read("out.json")

    assert first.count == 2
    assert run(b"a person 1\na person 0\n", "--apply", "--force").returncode == 0
    assert Certificate.read("out.json") == first


def test_an_id_may_have_what_some_call_the_end_of_a_line(run: Run, people: Memory) -> None:
    odd = "a\u2028b\x85c\x0bd"
    people.insert(vectors=np.ones((1, 8)), labels=["cat"], ids=[odd])

    assert run(f"{odd}\n".encode(), "--apply").returncode == 0
    assert Certificate.read("out.json").holds(odd)


def test_where_nothing_is_left_to_erase_the_certificate_that_names_it_comes_again(
    run: Run, people: Memory
) -> None:
    assert run(b"a person 0\na person 1\n", "--apply").returncode == 0
    first = Certificate.read("out.json")
    assert run(b"a person 2\n", "--apply", "--force").returncode == 0

    apply = ("--apply", "--allow-missing", "--force")
    done = run(b"a person 1\nnobody\n", *apply)
    told = json.loads(run(b"a person 1\nnobody\n", *apply, "--json").stdout)

    assert done.returncode == 0
    assert Certificate.read("out.json") == first
    assert f"1 entry of {people.name} erased before, on " in done.stdout
    assert ", beside 1 other;" in done.stdout
    assert (told["entries"], told["unknown"], told["applied"]) == (1, 1, False)


def test_what_never_was_there_is_not_certified(run: Run, server: Server, people: Memory) -> None:
    done = run(b"nobody\n", "--apply")

    assert (done.returncode, done.stdout) == (1, "")
    assert "there is nothing to certify" in done.stderr
    assert unlearnings(server, people) == 0
    assert not Path("out.json").exists()


def test_an_erasure_that_was_put_off_is_not_taken_for_none(command: Run, start: Start) -> None:
    server = start()
    catalog = server.data / "catalog.sqlite"
    Path("ids.txt").write_text("a person 1\n")
    where = ("--server", server.address, "--ids-file", "ids.txt", "--certificate", "out.json")
    with visual_memory.connect(server.address) as client:
        insert(client.create_memory("people", dimension=8), range(6))
        catalog.rename(f"{catalog}.away")
        assert command("unlearn", "people", *where, "--apply").returncode == 1
        Path(f"{catalog}.away").rename(catalog)
        (begun,) = [each for each in client.operations("people") if each.kind == "unlearn"]

    for _ in range(2):
        again = command("unlearn", "people", *where, "--apply")
        assert again.returncode == 1
        assert begun.name in again.stderr
        assert "; stop the server and put the catalog back, or" in again.stderr
        assert "it goes on when the server is started again" in again.stderr
    server.restart()
    for _ in range(2):
        done = command("unlearn", "people", *where[2:], "--server", server.address, "--apply")
    assert (done.returncode, Certificate.read(Path("out.json")).operation) == (0, begun.name)


def test_an_erasure_that_was_put_off_is_told_beside_what_is_erased_now(
    command: Run, start: Start
) -> None:
    server = start()
    catalog, away = server.data / "catalog.sqlite", server.data / "away"
    Path("ids.txt").write_text("a person 0\na person 1\nnobody\n")
    where = ("--server", server.address, "--ids-file", "ids.txt", "--certificate", "out.json")
    with visual_memory.connect(server.address) as client:
        people = client.create_memory("people", dimension=8)
        insert(people, range(6))
        (file,) = (server.data / "memories").glob("*.sqlite")
        with closing(sqlite3.connect(file)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            begun = people.unlearn(["a person 1"], wait=False).name
            while client.operation(begun).done < 1:
                pass
            catalog.rename(away)
            while client.operation(begun).state == "running":
                pass
        away.rename(catalog)

        shown = command("unlearn", "people", *where)
        listed = json.loads(command("unlearn", "people", *where, "--json").stdout)
        done = command("unlearn", "people", *where, "--apply")

        assert Certificate.read("out.json").holds("a person 0")
        assert not Certificate.read("out.json").holds("a person 1")
    unless = f", unless by {begun}, which has not ended: a person 1, nobody."
    sentence = f"2 ids neither stored nor erased before{unless}"
    assert (shown.returncode, done.returncode) == (0, 1)
    assert (listed["not_ended"], listed["unknown_ids"]) == ([begun], ["a person 1", "nobody"])
    assert sentence in shown.stdout
    assert "1 entry of people erased; " in done.stdout
    assert sentence in done.stdout
    assert done.stderr.startswith(f"The erasure {begun} of people has not ended: ")
    assert "it goes on when the server is started again" in done.stderr


def test_a_folder_that_is_not_there_is_refused_before_anything_is_erased(
    run: Run, people: Memory
) -> None:
    done = run(b"a person 0\n", "--apply", "--certificate", "nowhere/out.json")

    assert done.returncode == 1
    assert "There is no folder for nowhere/out.json" in done.stderr
    assert people.info().count == 6


def test_traces_that_stay_in_ram_are_told_and_end_the_command_with_1(
    command: Run, start: Start
) -> None:
    server = start()  # which searches its RAM
    where = ("--server", server.address, "--ids-file", "ids.txt", "--certificate", "out.json")
    Path("ids.txt").write_text("a person 0\n")
    with visual_memory.connect(server.address) as client:
        people = client.create_memory("people", dimension=8)
        insert(people, range(6))
        people.update("a person 0", label="a label of a person")
    host, port = server.address.split(":")
    with socket.create_connection((host, int(port))) as browser:  # gRPC keeps the address
        browser.sendall(b"GET /a label of a person/a label of a person HTTP/1.1\r\n\r\n")
        while browser.recv(1 << 16):
            pass

    done = command("unlearn", "people", *where, "--apply")
    verified = command("verify", "out.json")
    again = command("unlearn", "people", *where, "--apply")

    assert (done.returncode, verified.returncode, again.returncode) == (1, 0, 0)
    assert "RAM still holds traces, until the server ends.\n" in done.stdout
    assert "Traces of what was erased were found in the server's RAM again and again" in done.stderr
    assert "RAM still holds traces, until the server ends.\n" in verified.stdout
    assert "traces were found again and again" in verified.stdout
