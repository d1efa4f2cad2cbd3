"""``visual-memory verify --server``: a certificate is checked with a server's keys and log."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.conftest import Server, Start
from tests.service.conftest import Done, Run

import visual_memory
from visual_memory import Certificate, Error, aio
from visual_memory.proofs.certificate import Statement, commitment, sign
from visual_memory_service.erasure.signing_keys import SigningKeys

FLAGS = ("--erasure", "files")  # a search of the server's RAM would take ten times as long


class Erased(NamedTuple):
    """A server that unlearned two entries, the certificate, and the server's key."""

    server: Server
    certificate: Certificate
    key: Ed25519PrivateKey

    def forged(self, **changes: Any) -> Certificate:
        """Return a certificate with changed fields, signed by the server's key."""
        said = {each.name: getattr(self.certificate, each.name) for each in fields(Statement)}
        return sign(replace(Statement(**said), **changes), self.key)


def erase(server: Server, name: str = "pets") -> Certificate:
    """Unlearn two entries of a new memory, between other writes."""
    with visual_memory.connect(server.address) as client:
        pets = client.create_memory(name, dimension=8)
        rows = np.random.default_rng(0).standard_normal((6, 8))
        pets.insert(vectors=rows, labels=["cat"] * 6, ids=list("abcdef"))
        certificate = pets.unlearn(["a", "b"])
        pets.delete(["c"])
    return certificate


@pytest.fixture(scope="module")
def erased(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Erased]:
    server = Server(tmp_path_factory.mktemp("erased") / "data", *FLAGS)
    yield Erased(server, erase(server), SigningKeys(server.data).private)
    server.end()


@pytest.fixture
def run(command: Run) -> Run:
    """Runs ``verify`` on a certificate."""

    def run(certificate: Certificate, *arguments: str) -> Done:
        certificate.save("out.json", overwrite=True)
        return command("verify", "out.json", *arguments)

    return run


def test_the_certificate_of_a_server_is_believed(run: Run, erased: Erased) -> None:
    address, certificate = erased.server.address, erased.certificate

    done = run(certificate, "--server", address)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1:3] == [
        f"It is signed by the key {certificate.public_key} of the server {address},",
        f"whose audit log holds it as event {certificate.audit_index} and leads to pets as it is.",
    ]


def test_an_entry_that_is_there_again_is_told(run: Run, erased: Erased) -> None:
    where = ("--server", erased.server.address, "--id", "a", "b")
    assert json.loads(run(erased.certificate, *where, "--json").stdout)["there_again"] == []
    with visual_memory.connect(erased.server.address) as client:
        birds = client.create_memory("birds", dimension=8)
        birds.insert(vectors=np.eye(2, 8), labels=["owl"] * 2, ids=["a", "b"])
        certificate = birds.unlearn(["a", "b"])
        done = birds.insert(vectors=np.eye(1, 8), labels=["owl"], ids=["a"])

    told = run(certificate, *where)
    answer = json.loads(run(certificate, *where, "--json").stdout)

    assert done.unlearned == ["a"]
    assert told.returncode == 0
    assert "\n\nAn entry of this id is there again, inserted since: a.\n\n" in told.stdout
    assert (answer["ids"], answer["there_again"]) == ({"a": True, "b": True}, ["a"])


def test_programs_are_told_that_the_key_is_trusted(run: Run, erased: Erased) -> None:
    done = run(erased.certificate, "--server", erased.server.address, "--json", "--memory", "pets")

    assert json.loads(done.stdout)["trusted"] is True


def test_both_clients_verify_alike(erased: Erased) -> None:
    async def verified() -> object:
        async with aio.connect(erased.server.address) as client:
            return await client.verify(erased.certificate)

    with visual_memory.connect(erased.server.address) as client:
        found = client.verify(erased.certificate.to_json())

    assert found.trusted
    assert asyncio.run(verified()) == found


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"audit_index": 1}, "does not hold the erasure as its event 1"),
        ({"audit_index": 99}, "does not hold the erasure as its event 99"),
        ({"audit_event": "00" * 32}, "does not hold the erasure as its event 2"),
        ({"audit_root": "00" * 32}, "has another past before its event 2"),
        ({"digest_before": "00" * 32}, "has other digests before and after its event 2"),
        ({"digest_after": "00" * 32}, "has other digests before and after its event 2"),
        ({"time": datetime(2026, 1, 1, tzinfo=UTC)}, "has another time or count for its event 2"),
        (
            {"count": 1, "commitments": (commitment("ab" * 32, "x"),)},
            "has another time or count for its event 2",
        ),
        ({"memory": "cats"}, "This server has no memory 'cats'"),
        ({"memory": "../pets"}, "This server has no memory '../pets'"),
        ({"memory_uid": "00" * 16}, "This server has no memory 'pets' with the uid '0000"),
    ],
)
def test_what_the_audit_log_does_not_hold_is_refused_though_the_key_fits(
    run: Run, erased: Erased, changes: dict[str, Any], problem: str
) -> None:
    done = run(erased.forged(**changes), "--server", erased.server.address)

    assert (done.returncode, done.stdout) == (1, "")
    assert problem in done.stderr


@pytest.mark.parametrize("forged", [False, True])
def test_a_certificate_of_before_a_restore_is_told_from_a_forged_one(
    run: Run, erased: Erased, tmp_path: Path, forged: bool
) -> None:
    with visual_memory.connect(erased.server.address) as client:
        owls = client.create_memory("owls", dimension=8)
        owls.insert(vectors=np.eye(8)[:3], labels=["owl"] * 3, ids=list("xyz"))
        client.backup("owls", tmp_path / "owls.vmb")
        certificate = owls.unlearn(["x"])
        client.delete_memory("owls")
        client.restore(tmp_path / "owls.vmb", "owls")
    if forged:  # the erasure would be of after the restore
        later = certificate.time + timedelta(minutes=1)
        certificate = erased._replace(certificate=certificate).forged(time=later)

    done = run(certificate, "--server", erased.server.address)
    with visual_memory.connect(erased.server.address) as client:
        client.delete_memory("owls")

    assert (done.returncode, done.stdout) == (1, "")
    assert ("do not rely on the certificate" in done.stderr) == forged
    assert ("The certificate is whole and signed by a key of this server" in done.stderr) != forged


def test_a_key_that_is_not_of_the_server_is_refused(run: Run, erased: Erased) -> None:
    foreign = erased._replace(key=Ed25519PrivateKey.generate()).forged()

    done = run(foreign, "--server", erased.server.address)

    assert (done.returncode, done.stdout) == (1, "")
    assert f"is signed by the key {foreign.public_key}, and not by " in done.stderr
    assert f"{erased.certificate.public_key}; do not rely on it" in done.stderr


def test_a_key_that_is_given_has_to_fit_too(run: Run, erased: Erased) -> None:
    own = erased.certificate.public_key

    fits = run(erased.certificate, "--server", erased.server.address, "--public-key", own)
    other = run(erased.certificate, "--server", erased.server.address, "--public-key", "ab" * 32)

    assert fits.returncode == 0
    assert other.returncode == 1
    assert "and not by" in other.stderr


def test_a_former_key_of_the_server_is_one_of_its_own(erased: Erased) -> None:
    erased.server.end()
    SigningKeys(erased.server.data).rotate()
    erased.server.start(*FLAGS)

    with visual_memory.connect(erased.server.address) as client:
        assert erased.certificate.public_key in client.server_info().public_keys[1:]
        assert client.verify(erased.certificate).trusted


def test_a_log_that_does_not_lead_to_the_memory_proves_nothing(start: Start) -> None:
    server = start(None, *FLAGS)
    events = {1: "InsertEntries", 2: "UnlearnEntries", 3: "DeleteEntries"}
    certificates = {number: erase(server, f"pets-{number}") for number in events}
    server.end()
    for number, text in events.items():
        alter(server, number, text)
    server.start(*FLAGS)

    reasons = {}
    with visual_memory.connect(server.address) as client:
        for number, certificate in certificates.items():
            try:
                reasons[number] = f"trusted: {client.verify(certificate).trusted}"
            except Error as error:
                reasons[number] = error.reason

    # The last event was noted, and is missed before anything is asked of the memory.
    assert all(reason in ("BAD_AUDIT_LOG", "OLDER_MEMORY") for reason in reasons.values()), reasons


def alter(server: Server, number: int, text: str) -> None:
    """Replace text in audit event ``number`` of the memory ``pets-NUMBER`` of a stopped server."""
    (file,) = (server.data / "memories").glob(f"pets-{number}.*.sqlite")
    with closing(sqlite3.connect(file)) as db, db:
        db.execute(
            "UPDATE audit SET event = replace(event, ?, 'NoEntries') WHERE number = ?",
            (text, number),
        )
