"""``visual-memory verify``: its output for a certificate, and its exit code."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.service.conftest import Run, refused, text

from visual_memory.proofs.certificate import Searched, Statement, commitment, sign

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()
FINGERPRINT = hashlib.sha256(PUBLIC).hexdigest()
OTHERS = "ab" * 32
SALT = "5a" * 32
TIME = datetime(2026, 1, 31, 12, 0, 5, tzinfo=UTC)
STATEMENT = Statement(
    memory="pets",
    memory_uid="c0" * 16,
    dimension=8,
    embedder="",
    server="0.1.0",
    operation="pets/01kg0000000000000000000000",
    time=TIME,
    count=2,
    salt=SALT,
    commitments=tuple(sorted(commitment(SALT, id) for id in ("cat/0.jpg", "cat/1.jpg"))),
    digest_before="1b" * 32,
    digest_after="2a" * 32,
    audit_index=7,
    audit_event="3e" * 32,
    audit_root="4f" * 32,
    looked_for=12,
    searched=(Searched("the memory’s file", 1_048_576), Searched("its log", 4_120)),
    backups=(TIME.replace(day=30),),
    not_covered=("Copies that clients made.", "Red \x1b[31m\u202e letters."),
)


@pytest.fixture
def run(command: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs ``verify`` beside a certificate ``out.json``, with no server to ask."""
    monkeypatch.setenv("VISUAL_MEMORY_SERVER", "127.0.0.1:1")
    sign(STATEMENT, KEY).save("out.json")
    return partial(command, "verify")


def test_without_a_key_it_names_the_signer_and_promises_no_more(run: Run) -> None:
    lines = text(run("out.json")).splitlines()

    assert lines[:3] == [
        "The certificate is whole. Erased at 2026-01-31 12:00:05 UTC: 2 entries of pets.",
        f"It is signed by the key {PUBLIC.hex()}, with the fingerprint {FINGERPRINT}.",
        "Anybody can sign with a key of their own: look whether this is one that visual-memory "
        "signing-keys prints, or add --public-key FILE.",
    ]


def test_with_the_key_it_says_so(run: Run, tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(
        KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )

    lines = text(run("out.json", "--public-key", "key.pem", "--memory", "pets")).splitlines()

    assert lines[1] == f"It is signed by the key {PUBLIC.hex()}, which is one that you gave."
    assert "Anybody can sign" not in "".join(lines)


def test_people_are_told_what_was_searched_and_what_is_not_covered(run: Run) -> None:
    printed = text(run("out.json"))

    for part in (
        f"digest before  {'1b' * 32}\n",
        f"digest after   {'2a' * 32}\n",
        f"audit log      event 7, {'3e' * 32}\n",
        "12 traces looked for afterwards, and none found in:\n",
        "the memory’s file  1048576\n",
        "- Copies that clients made.\n",
        "- A backup of 2026-01-30 12:00:05 UTC may hold what was erased.\n",
    ):
        assert part in printed


@pytest.mark.parametrize(
    ("erasure", "printed"),
    [
        ("files", "erased from    files alone, not from the RAM of the server's process\n"),
        ("files+memory", "erased from    files and the RAM of the server's process\n"),
    ],
)
def test_people_are_told_whether_ram_was_erased_too(run: Run, erasure: str, printed: str) -> None:
    sign(replace(STATEMENT, erasure=erasure), KEY).save("out.json", overwrite=True)

    assert printed in text(run("out.json"))


def test_people_are_told_when_the_erasure_had_ended(run: Run) -> None:
    before = text(run("out.json"))
    sign(replace(STATEMENT, end_time=TIME.replace(hour=15)), KEY).save("out.json", overwrite=True)

    assert "ended" not in before
    assert "erasure ended  2026-01-31 15:00:05 UTC\n" in text(run("out.json"))


def test_what_a_certificate_says_cannot_move_the_cursor(run: Run) -> None:
    assert "- Red \\x1b[31m\\u202e letters.\n" in text(run("out.json"))


def test_programs_get_all_but_the_commitments(run: Run) -> None:
    answer = json.loads(text(run("out.json", "--public-key", PUBLIC.hex(), "--json")))

    assert answer == {
        "memory": "pets",
        "memory_uid": "c0" * 16,
        "dimension": 8,
        "embedder": "",
        "server": "0.1.0",
        "operation": "pets/01kg0000000000000000000000",
        "time": "2026-01-31T12:00:05+00:00",
        "count": 2,
        "digest_before": "1b" * 32,
        "digest_after": "2a" * 32,
        "audit_index": 7,
        "audit_event": "3e" * 32,
        "audit_root": "4f" * 32,
        "looked_for": 12,
        "searched": [
            {"where": "the memory’s file", "bytes": 1_048_576},
            {"where": "its log", "bytes": 4_120},
        ],
        "found": 0,
        "backups": ["2026-01-30T12:00:05+00:00"],
        "not_covered": ["Copies that clients made.", "Red \x1b[31m\u202e letters."],
        "also_in": [],
        "erasure": "",
        "end_time": None,
        "public_key": PUBLIC.hex(),
        "signer": FINGERPRINT,
        "trusted": True,
        "ids": {},
    }


def test_ids_that_were_erased_are_found(run: Run) -> None:
    said = text(run("out.json", "--id", "cat/1.jpg", "cat/0.jpg"))

    first, _, rest = said.partition("\n")
    assert first.startswith("The certificate is whole. Erased at ")
    assert rest.startswith(
        "\nid         erased\ncat/1.jpg  yes\ncat/0.jpg  yes\n\nIt is signed by the key "
    )


@pytest.mark.parametrize("flag", [[], ["--json"]])
def test_an_id_that_was_not_erased_exits_1(run: Run, flag: list[str]) -> None:
    done = run("out.json", "--id", "cat/1.jpg", "--id", "cat/2.jpg", *flag)

    assert done.returncode == 1
    assert done.stderr == "The certificate is not about these ids: cat/2.jpg.\n"
    if flag:
        assert json.loads(done.stdout)["ids"] == {"cat/1.jpg": True, "cat/2.jpg": False}
    else:
        assert "\ncat/2.jpg  no\n" in done.stdout


def test_one_of_several_keys_will_do(run: Run) -> None:
    assert text(run("out.json", "--public-key", OTHERS, "--public-key", PUBLIC.hex()))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("nowhere.json",), "nowhere.json cannot be read: no such file or directory."),
        (("cut.json",), "The certificate is no whole JSON ("),
        (("forged.json",), "so that its signature does not fit; get it again from the server"),
        (
            ("out.json", "--public-key", OTHERS),
            f"is signed by the key {PUBLIC.hex()}, and not by {OTHERS}; do not rely on it",
        ),
        (("out.json", "--public-key", "key.pem"), "No such file: key.pem"),
        (
            ("out.json", "--public-key", "out.json"),
            "--public-key out.json must be a public key of Ed25519",
        ),
        (("out.json", "--memory", "cats"), "of the memory 'pets', and not of 'cats'"),
    ],
)
def test_what_is_not_right_exits_1_with_a_sentence(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    text = (tmp_path / "out.json").read_text(encoding="utf-8")
    (tmp_path / "cut.json").write_text(text[:1000], encoding="utf-8")
    (tmp_path / "forged.json").write_text(text.replace("pets", "cats"), encoding="utf-8")

    assert sentence in refused(run(*arguments))
