"""A certificate is read by everybody as it was signed, and nothing else is accepted as one."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from visual_memory import (
    AlreadyExists,
    Certificate,
    InvalidArgument,
    InvalidCertificate,
    Verification,
    verify,
)
from visual_memory.proofs.certificate import (
    CERTIFICATE_BYTES_MAX,
    COUNT_MAX,
    ERASURES,
    Searched,
    Statement,
    check_commitments,
    commitment,
    sign,
)

Forge: TypeAlias = Callable[[Random], bytes]

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
PUBLIC = KEY.public_key().public_bytes_raw()
OTHERS = OTHER.public_key().public_bytes_raw()
GOLDEN = Path(__file__).parents[1] / "data" / "certificate-1.json"
IDS = ("cat/0.jpg", "dog/ü.jpg", "0001", "x" * 256)
TIME = datetime(2026, 1, 31, 12, 0, 5, tzinfo=UTC)


WEAK_KEYS = [
    bytes.fromhex(key)
    for key in (
        "01" + "00" * 31,
        "01" + "00" * 30 + "80",
        "ec" + "ff" * 30 + "7f",
        "00" * 32,
        "00" * 31 + "80",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    )
]


def about(memory: str, ids: tuple[str, ...] = IDS, number: int = 0) -> Statement:
    """Return a statement that these ids were erased; its other fields depend on ``number``."""

    def hash(name: str) -> str:
        return hashlib.sha256(f"{memory} {name} {number}".encode()).hexdigest()

    salt = hash("salt")
    return Statement(
        memory=memory,
        memory_uid=hash("uid")[:32],
        dimension=1280,
        embedder='{"name":"efficientnet-lite0"}',
        server="0.1.0",
        operation=f"{memory}/01kg{number:022}",
        time=TIME + timedelta(days=number),
        count=len(ids),
        salt=salt,
        commitments=tuple(sorted(commitment(salt, id) for id in ids)),
        digest_before=hash("before"),
        digest_after=hash("after"),
        audit_index=7 + number,
        audit_event=hash("event"),
        audit_root=hash("root"),
        looked_for=12 + number,
        searched=(Searched("the memory’s file", 1_048_576), Searched("its log", 4_120 + number)),
        backups=(TIME - timedelta(days=1),),
        not_covered=("Copies that clients made.", "What the drive keeps in spare sectors."),
    )


PETS = sign(about("pets"), KEY)


def document_of(certificate: Certificate) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(certificate.to_json())
    return document


PETS_SAY = document_of(PETS)


def written(document: object) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode()


def changed(**values: object) -> bytes:
    """Return the certificate as JSON with these fields changed."""
    return written(PETS_SAY | values)


def refused(source: Any, *arguments: Any, **options: Any) -> str:
    """Check that a certificate is refused, and return the message."""
    with pytest.raises(InvalidCertificate) as caught:
        verify(source, *arguments, **options)
    return caught.value.message


# What is signed is what is said


def texts() -> st.SearchStrategy[str]:
    return st.text(max_size=20)


def wholes() -> st.SearchStrategy[int]:
    return st.integers(0, 2**53 - 1)


def hashes(size: int = 32) -> st.SearchStrategy[str]:
    return st.binary(min_size=size, max_size=size).map(bytes.hex)


def times() -> st.SearchStrategy[datetime]:
    return st.datetimes(timezones=st.just(UTC)).map(lambda time: time.replace(microsecond=0))


def tuples(values: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(values, max_size=3).map(tuple)


@st.composite
def statements(draw: st.DrawFn) -> Statement:
    """Draw any statement that can be signed."""
    commitments = tuple(sorted(draw(st.sets(hashes(16), max_size=4))))
    return Statement(
        memory=draw(texts()),
        memory_uid=draw(texts()),
        embedder=draw(texts()),
        server=draw(texts()),
        operation=draw(texts()),
        dimension=draw(wholes()),
        time=draw(times()),
        count=len(commitments),
        salt=draw(hashes()),
        commitments=commitments,
        digest_before=draw(hashes()),
        digest_after=draw(hashes()),
        audit_index=draw(wholes()),
        audit_event=draw(hashes()),
        audit_root=draw(hashes()),
        looked_for=draw(wholes()),
        searched=draw(tuples(st.builds(Searched, texts(), wholes()))),
        backups=draw(tuples(times())),
        not_covered=draw(tuples(texts())),
        also_in=draw(tuples(texts())),
        erasure=draw(st.sampled_from(["", *ERASURES])),
        end_time=draw(st.none() | times()),
    )


def said(statement: Statement) -> dict[str, Any]:
    return {each.name: getattr(statement, each.name) for each in fields(Statement)}


@given(statements())
def test_a_verification_says_what_was_signed(statement: Statement) -> None:
    certificate = sign(statement, KEY)

    verification = verify(certificate, PUBLIC)

    assert said(verification) == said(certificate) == said(statement)
    assert Certificate.read(certificate.to_json()) == certificate


def reordered(value: Any, random: Random) -> Any:
    """Return the value with the fields of every object in random order."""
    if isinstance(value, dict):
        names = random.sample(sorted(value), len(value))
        return {name: reordered(value[name], random) for name in names}
    return [reordered(each, random) for each in value] if isinstance(value, list) else value


@given(statements(), st.randoms(use_true_random=False), st.booleans(), st.sampled_from([None, 2]))
def test_json_that_means_the_same_is_accepted(
    statement: Statement, random: Random, escaped: bool, indent: int | None
) -> None:
    certificate = sign(statement, KEY)
    document = reordered(document_of(certificate), random)

    text = json.dumps(document, ensure_ascii=escaped, indent=indent)

    assert verify(f"\n{text}\r\n", PUBLIC) == verify(text.encode(), PUBLIC)
    assert Certificate.read(text) == certificate


def test_anybody_can_check_a_signature_by_the_documented_rule() -> None:
    document = document_of(PETS)
    signature = bytes.fromhex(document.pop("signature"))
    canonical = json.dumps(document, ensure_ascii=False, separators=(",", ":"), sort_keys=True)

    KEY.public_key().verify(
        signature, b"visual-memory certificate of erasure 1\0" + canonical.encode()
    )


def test_what_the_first_release_wrote_is_read_and_written_as_it_was() -> None:
    assert PETS.to_json() == GOLDEN.read_text(encoding="utf-8")
    assert said(verify(GOLDEN, PUBLIC)) == said(about("pets"))


def test_a_later_field_is_there_only_where_it_says_something() -> None:
    certificate = sign(replace(about("pets"), also_in=("pets2", "pets")), KEY)

    assert document_of(certificate)["also_in"] == ["pets2", "pets"]
    assert verify(certificate, PUBLIC).also_in == ("pets2", "pets")
    assert "also_in" not in PETS_SAY
    assert verify(PETS, PUBLIC).also_in == ()
    assert "must have one at least" in refused(changed(also_in=[]))
    assert "signature does not fit" in refused(changed(also_in=["pets2"]))


def test_a_certificate_says_when_the_search_had_ended() -> None:
    ended = datetime(2026, 2, 1, tzinfo=UTC)
    certificate = sign(replace(about("pets"), end_time=ended), KEY)

    assert document_of(certificate)["end_time"] == "2026-02-01T00:00:00Z"
    assert verify(certificate, PUBLIC).end_time == ended
    assert "end_time" not in PETS_SAY
    assert verify(PETS, PUBLIC).end_time is None
    assert "signature does not fit" in refused(changed(end_time="2026-02-01T00:00:00Z"))


@pytest.mark.parametrize("erasure", ["files", "files+memory"])
def test_a_certificate_says_whether_memory_was_erased_too(erasure: str) -> None:
    certificate = sign(replace(about("pets"), erasure=erasure), KEY)

    assert document_of(certificate)["erasure"] == erasure
    assert verify(certificate, PUBLIC).erasure == erasure
    assert "erasure" not in PETS_SAY
    assert verify(PETS, PUBLIC).erasure == ""
    assert "signature does not fit" in refused(changed(erasure=erasure))


def test_a_certificate_says_that_nothing_was_found() -> None:
    assert PETS_SAY["found"] == 0


@pytest.mark.parametrize(
    "change",
    [
        {"time": TIME.replace(microsecond=1)},
        {"time": TIME.replace(tzinfo=None)},
        {"time": TIME.astimezone(timezone(timedelta(hours=1)))},
        {"count": 3},
        {"audit_index": -1},
        {"commitments": PETS.commitments[::-1]},
        {"memory": "\ud800"},
    ],
    ids=str,
)
def test_what_could_not_be_read_is_not_signed(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidCertificate, match=r"^Nothing was signed, for .* nobody would read"):
        sign(replace(about("pets"), **change), KEY)


# Ids


def test_whoever_holds_an_id_finds_it_and_no_other() -> None:
    verification = verify(PETS)

    assert [id for id in (*IDS, "", "cat/1.jpg", "cat/0.jpg ") if verification.holds(id)] == [*IDS]
    assert not verification.holds("\udcff")


@given(st.sets(st.text(max_size=5), max_size=9), st.sets(st.text(max_size=5), max_size=9))
def test_a_certificate_holds_the_ids_that_were_erased_and_no_other(
    erased: set[str], kept: set[str]
) -> None:
    certificate = sign(about("pets", tuple(erased)), KEY)

    assert {id for id in erased | kept if certificate.holds(id)} == erased


def test_an_id_is_not_in_the_file_and_looks_otherwise_in_every_certificate() -> None:
    again = sign(about("pets", number=1), KEY)

    assert [id for id in IDS if id in PETS.to_json()] == []
    assert set(PETS.commitments).isdisjoint(again.commitments)


def test_a_commitment_is_the_documented_hash() -> None:
    whole = hashlib.sha256(b"visual-memory id 1\0" + bytes.fromhex(PETS.salt) + b"0001")

    assert commitment(PETS.salt, "0001") == whole.hexdigest()[:32]


# Keys


def test_without_a_key_the_signer_is_named_and_nobody_is_trusted() -> None:
    verification = verify(PETS)

    assert verification.public_key == PUBLIC.hex()
    assert verification.signer == PETS.signer == hashlib.sha256(PUBLIC).hexdigest()
    assert verification.trusted is None


@pytest.mark.parametrize("keys", [PUBLIC, PUBLIC.hex(), [PUBLIC], (OTHERS, PUBLIC.hex())])
def test_with_its_key_it_is_trusted(keys: Any) -> None:
    assert verify(PETS, keys).trusted is True


@pytest.mark.parametrize("keys", [OTHERS, [OTHERS, b"\2" * 32]])
def test_with_other_keys_it_is_refused(keys: Any) -> None:
    sentence = refused(PETS, keys)

    assert f"is signed by the key {PUBLIC.hex()}, and not by {OTHERS.hex()}" in sentence


@pytest.mark.parametrize("keys", ["", b"", [], (), "nowhere.pem", 0, False])
def test_what_is_no_key_is_never_taken_for_none(keys: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"^public_key"):
        verify(PETS, keys)


# Memories


def test_a_certificate_is_of_one_memory() -> None:
    assert verify(PETS, PUBLIC, memory="pets").memory == "pets"
    assert refused(PETS, PUBLIC, memory="cats").startswith(
        "The certificate is of the memory 'pets', and not of 'cats'; "
    )
    assert refused(PETS, PUBLIC, memory="")


def test_memories_of_the_same_name_have_other_uids() -> None:
    again = sign(about("pets", number=1), KEY)

    assert verify(again, PUBLIC).memory_uid != verify(PETS, PUBLIC).memory_uid


# Forgeries

GENUINE = [
    sign(about(memory, IDS[:count], number), KEY)
    for number, (memory, count) in enumerate([("pets", 4), ("pets", 1), ("cats", 2), ("dogs", 0)])
]


def flipped(random: Random) -> bytes:
    """Return a genuine certificate with one to three bits flipped."""
    data = bytearray(random.choice(GENUINE).to_json().encode())
    for at in random.sample(range(8 * len(data)), random.randint(1, 3)):
        data[at // 8] ^= 1 << at % 8
    return bytes(data)


def swapped(random: Random) -> bytes:
    """Return a certificate with two fields exchanged, or one taken from another certificate."""
    one, other = random.sample(GENUINE, 2)
    forged, source = document_of(one), document_of(other)
    while forged == document_of(one):
        first, second = random.sample(sorted(forged), 2)
        if random.random() < 0.5:
            forged[first] = source[first]
        else:
            forged[first], forged[second] = forged[second], forged[first]
    return written(forged)


def cut(random: Random) -> bytes:
    """Return a certificate that lacks bytes, a field or an item of a list."""
    certificate = random.choice(GENUINE)
    data, document = certificate.to_json().encode(), document_of(certificate)
    start, end = sorted(random.sample(range(len(data) + 1), 2))
    lists = [name for name, value in document.items() if isinstance(value, list) and value]
    match random.choice(("end", "middle", "field", "item")):
        case "end":
            return data[:start]
        case "middle":
            return data[:start] + data[end:]
        case "field":
            del document[random.choice(sorted(document))]
        case "item":
            shorter = document[random.choice(lists)]
            del shorter[random.randrange(len(shorter))]
            document["count"] = len(document["commitments"])
    return written(document)


def signed_by_another(random: Random) -> bytes:
    """Return a certificate that another key signed, though it may name ours."""
    certificate = random.choice(GENUINE)
    ids = tuple(map(str, range(random.randint(0, 5))))
    statement = random.choice([certificate, about(certificate.memory, ids)])
    forged = document_of(sign(statement, OTHER))
    if random.random() < 0.3:
        forged["public_key"] = PUBLIC.hex()
    return written(forged)


def replayed(random: Random) -> bytes:
    """Return a genuine certificate of another memory, though it may name ours."""
    forged = document_of(random.choice(GENUINE[2:]))
    if random.random() < 0.5:
        forged["memory"] = "pets"
    if random.random() < 0.5:
        forged["memory_uid"] = PETS.memory_uid
    return written(forged)


FORGERIES: tuple[Forge, ...] = (flipped, swapped, cut, signed_by_another, replayed)


@pytest.mark.parametrize("forge", FORGERIES, ids=lambda forge: forge.__name__)
def test_of_2000_forgeries_none_is_accepted(forge: Forge) -> None:
    random = Random(forge.__name__)

    for _ in range(2000 // len(FORGERIES)):
        assert refused(forge(random), PUBLIC, memory="pets")


@pytest.mark.parametrize("forge", [flipped, swapped, cut])
def test_what_was_changed_is_refused_without_a_key_too(forge: Forge) -> None:
    random = Random(forge.__name__)

    for _ in range(200):
        assert refused(forge(random))


def test_every_single_bit_counts() -> None:
    data = PETS.to_json().encode()
    assert verify(data, PUBLIC)

    for at in range(8 * len(data)):
        forged = bytearray(data)
        forged[at // 8] ^= 1 << at % 8
        assert refused(bytes(forged))


def test_what_another_key_signed_is_whole_and_named_after_that_key() -> None:
    verification = verify(sign(about("pets"), OTHER))

    assert verification.signer == hashlib.sha256(OTHERS).hexdigest()
    assert verification.trusted is None


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=64, max_size=64))
def test_no_key_and_signature_break_the_check(key: bytes, signature: bytes) -> None:
    assert refused(changed(public_key=key.hex(), signature=signature.hex()))
    assert refused(changed(public_key=key.hex()))
    assert refused(changed(signature=signature.hex()))


@pytest.mark.parametrize("key", WEAK_KEYS, ids=lambda key: key.hex()[:4] + key.hex()[-2:])
def test_keys_whose_signature_fits_any_content_are_refused(key: bytes) -> None:
    empty = b"\1" + bytes(63)  # R is the neutral point, S is 0
    forged = changed(public_key=key.hex(), signature=empty.hex())

    assert "which must be a key whose signatures mean something" in refused(forged)
    with pytest.raises(InvalidArgument, match="public_key must be a key whose signatures mean"):
        verify(forged, key)


def test_a_signature_has_one_form() -> None:
    """S and S + L would both fit, were the larger not refused."""
    order = 2**252 + 27742317777372353535851937790883648493
    signature = bytes.fromhex(PETS.signature)
    larger = int.from_bytes(signature[32:], "little") + order

    forged = signature[:32] + larger.to_bytes(32, "little")

    said = refused(changed(signature=forged.hex()))
    assert " was changed after it was signed, so that its signature does not fit" in said


# Strictness

NOT_WHOLE = "which must be a whole number from 0 to 9007199254740991;"
NOT_TEXT = "which must be text of at most 65536 characters;"
NOT_TIME = "which must be a time in whole seconds, such as 2026-01-31T12:00:00Z;"
HEX_32 = "which must be 32 digits of lower-case hex;"
HEX_64 = "which must be 64 digits of lower-case hex;"
HEX_128 = "which must be 128 digits of lower-case hex;"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"extra": 1}, "The certificate has an unknown field 'extra';"),
        ({"Memory": "pets"}, "The certificate has an unknown field 'Memory';"),
        ({"\n": 1}, r"The certificate has an unknown field '\n';"),
        ({"memory": 5}, f"The certificate says memory: 5, {NOT_TEXT}"),
        ({"memory": None}, f"The certificate says memory: None, {NOT_TEXT}"),
        ({"memory": "x" * 65_537}, NOT_TEXT),
        ({"embedder": {"name": "x"}}, f"The certificate says embedder: {{…}}, {NOT_TEXT}"),
        ({"dimension": True}, f"The certificate says dimension: True, {NOT_WHOLE}"),
        ({"dimension": "1280"}, f"The certificate says dimension: '1280', {NOT_WHOLE}"),
        ({"audit_index": 2**53}, f"says audit_index: 9007199254740992, {NOT_WHOLE}"),
        ({"looked_for": [1]}, f"The certificate says looked_for: […], {NOT_WHOLE}"),
        ({"count": False}, f"The certificate says count: False, {NOT_WHOLE}"),
        ({"count": 5}, "The certificate has the count 5, but 4 commitments;"),
        ({"found": 1}, "The certificate says found: 1, which must be 0;"),
        ({"found": False}, "The certificate says found: False, which must be 0;"),
        ({"time": "2026-01-31T12:00:05+00:00"}, NOT_TIME),
        ({"time": "2026-01-31T12:00:05.0Z"}, NOT_TIME),
        ({"time": "2026-01-31t12:00:05z"}, NOT_TIME),
        ({"time": "2026-1-31T12:00:05Z"}, NOT_TIME),
        ({"time": "2026-02-30T12:00:05Z"}, NOT_TIME),
        ({"time": "0000-01-31T12:00:05Z"}, NOT_TIME),
        ({"time": "2026-01-31T12:00:60Z"}, NOT_TIME),
        ({"time": "２０２６-01-31T12:00:05Z"}, NOT_TIME),  # noqa: RUF001  # the point of it
        ({"time": 1769860805}, NOT_TIME),
        ({"backups": ["2026-01-31 12:00:05Z"]}, NOT_TIME),
        ({"backups": "2026-01-31T12:00:05Z"}, "which must be a list;"),
        ({"not_covered": [["nothing"]]}, NOT_TEXT),
        ({"erasure": "memory"}, "which must be 'files' or 'files+memory';"),
        ({"erasure": ""}, "which must be 'files' or 'files+memory';"),
        ({"erasure": 1}, "which must be 'files' or 'files+memory';"),
        ({"searched": {"where": "x", "bytes": 1}}, "which must be a list;"),
        ({"searched": [{"where": "x"}]}, "which must have where and bytes in each;"),
        ({"searched": [{"where": "x", "bytes": 1, "found": 0}]}, "must have where and bytes"),
        ({"searched": [{"where": "x", "bytes": True}]}, NOT_WHOLE),
        ({"searched": ["x"]}, "which must have where and bytes in each;"),
        ({"salt": PETS.salt.upper()}, HEX_64),
        ({"salt": PETS.salt[:-1]}, HEX_64),
        ({"salt": f"{PETS.salt}\n"}, HEX_64),
        ({"digest_after": f" {PETS.digest_after[1:]}"}, HEX_64),
        ({"digest_before": "٣" * 64}, HEX_64),
        ({"audit_event": None}, HEX_64),
        ({"public_key": PETS.public_key.upper()}, HEX_64),
        ({"signature": f"0x{PETS.signature[2:]}"}, HEX_128),
        ({"commitments": [*PETS.commitments[:3], "g" * 32]}, HEX_32),
        ({"commitments": [*PETS.commitments[:3], 7]}, HEX_32),
        ({"commitments": PETS.commitments[::-1]}, "The certificate has commitments that do not "),
        ({"commitments": PETS.commitments[:1] * 4}, "The certificate has commitments that do not "),
        ({"format": "visual-memory backup"}, "The certificate is no JSON object with the format "),
        ({"format": 1}, "The certificate is no JSON object with the format "),
        ({"version": "1"}, "The certificate says version: '1', which must be 1;"),
        ({"version": True}, "The certificate says version: True, which must be 1;"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_every_field_is_read_strictly(change: dict[str, Any], problem: str) -> None:
    sentence = refused(changed(**change))

    assert problem in sentence
    assert sentence.endswith("; get it again from the server that made it.")
    assert len(sentence) < 300


@pytest.mark.parametrize("name", sorted(PETS_SAY))
def test_every_field_must_be_there(name: str) -> None:
    document = {field: value for field, value in PETS_SAY.items() if field != name}

    assert refused(written(document))


@pytest.mark.parametrize(("version", "which"), [(0, "an older"), (2, "a newer"), (99, "a newer")])
def test_another_version_is_named_with_the_release_that_reads_it(version: int, which: str) -> None:
    assert refused(written({"format": PETS_SAY["format"], "version": version, "more": []})) == (
        f"The certificate has version {version}, and this release reads version 1; "
        f"verify it with {which} release of visual-memory."
    )


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "is no whole JSON"),
        (b"\0" * 100, "is no whole JSON"),
        (b"null", "is no JSON object"),
        (b"[]", "is no JSON object"),
        (b"{}", "is no JSON object"),
        (b'{"format":' * 100_000, "is nested too deep"),
        (changed(more=[]).replace(b"[]}", b"[" * 400 + b"]" * 400 + b"}"), "has an unknown field"),
        (changed().replace(b'"count": 4', b'"count": 4.0'), "has 4.0 where only"),
        (changed().replace(b'"count": 4', b'"count": 4e0'), "has 4e0 where only"),
        (changed().replace(b'"count": 4', b'"count": NaN'), "has NaN where only"),
        (changed().replace(b'"count": 4', b'"count": ' + b"4" * 9999), "has 4444444444"),
        (changed().replace(b'"count": 4', b'"count": 4, "count": 4'), "has the same name twice"),
        (changed().replace(b'"pets"', b'"\\ud800"'), "says memory: '\\ud800', which must be text"),
        (changed().replace(b'"pets"', b'"\xff"'), "is not UTF-8, so this file may be none; get"),
        (changed() + b"{}", "is no whole JSON"),
        (b"\xef\xbb\xbf" + changed(), "is no whole JSON"),
        (b" " * CERTIFICATE_BYTES_MAX + b"{}", "has more than 67108864 bytes"),
    ],
    ids=lambda value: value[:20],
)
def test_what_is_no_certificate_is_refused(data: bytes, problem: str, tmp_path: Path) -> None:
    file = tmp_path / "certificate.json"
    file.write_bytes(data)

    assert f"The certificate {problem}" in refused(data) == refused(file)


@pytest.mark.parametrize("source", [5, None, ["a.json"]])
def test_what_is_neither_json_nor_a_path_is_refused(source: Any) -> None:
    for use in (Certificate.read, verify):
        with pytest.raises(InvalidCertificate, match="or the path of a file with it, but not"):
            use(source)


def test_text_with_a_byte_order_mark_is_no_path() -> None:
    assert "is no whole JSON (Unexpected UTF-8 BOM" in refused("\ufeff" + PETS.to_json())


def test_a_certificate_is_of_at_most_a_million_entries() -> None:
    commitments = tuple(f"{number:032x}" for number in range(COUNT_MAX + 1))
    statement = replace(about("pets"), count=len(commitments), commitments=commitments)

    check_commitments(replace(PETS, count=COUNT_MAX, commitments=commitments[:COUNT_MAX]))
    with pytest.raises(InvalidCertificate, match="one certificate is for at most 1000000, and"):
        sign(statement, KEY)


@pytest.mark.parametrize(
    "change",
    [
        {"memory": "cats"},
        {"memory": 5},
        {"count": True},
        {"time": TIME + timedelta(seconds=1)},
        {"time": TIME.replace(microsecond=1)},
        {"commitments": list(PETS.commitments[:3])},
        {"searched": ()},
        {"public_key": OTHERS.hex()},
        {"signature": "00" * 64},
        {"signature": ""},
    ],
    ids=str,
)
def test_a_certificate_that_was_changed_in_memory_is_refused(change: dict[str, Any]) -> None:
    assert refused(replace(PETS, **change))


# Files


def test_what_is_saved_is_the_canonical_text_and_nothing_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "out.json"

    PETS.save(file)

    assert file.read_bytes() == PETS.to_json().encode()
    assert os.listdir(tmp_path) == ["out.json"]
    assert Certificate.read(file) == Certificate.read(str(file)) == PETS
    assert verify(file, PUBLIC) == verify(str(file), PUBLIC) == verify(PETS, PUBLIC)


def test_a_file_is_overwritten_only_where_that_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    file.write_text("something else")

    with pytest.raises(AlreadyExists, match="exists already"):
        PETS.save(file)
    kept = file.read_text()
    PETS.save(str(file), overwrite=True)

    assert kept == "something else"
    assert verify(file, PUBLIC)


def test_of_two_that_save_a_file_at_once_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, fsync = tmp_path / "out.json", os.fsync

    def fsync_late(number: int) -> None:
        file.write_text("of another")
        fsync(number)

    monkeypatch.setattr(os, "fsync", fsync_late)
    with pytest.raises(AlreadyExists):
        PETS.save(file)

    assert file.read_text() == "of another"
    assert os.listdir(tmp_path) == ["out.json"]


def test_a_file_is_saved_where_there_are_no_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    PETS.save(tmp_path / "out.json")

    assert verify(tmp_path / "out.json")
    assert os.listdir(tmp_path) == ["out.json"]
    with pytest.raises(AlreadyExists):
        PETS.save(tmp_path / "out.json")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("nowhere/out.json", "no such file"),
        ("folder", "is a directory"),
        ("file/out.json", "not a directory"),
        ("x" * 256, "file name too long"),
    ],
)
def test_what_cannot_be_saved_leaves_nothing(name: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()

    with pytest.raises(InvalidArgument, match=f"path: {problem}: "):
        PETS.save(tmp_path / name, overwrite=True)

    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]
    assert os.listdir(tmp_path / "folder") == []


def test_the_longest_name_can_be_saved(tmp_path: Path) -> None:
    PETS.save(tmp_path / ("x" * 255))

    assert verify(tmp_path / ("x" * 255))


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("nowhere.json", "nowhere.json cannot be read: no such file or directory."),
        ("", ". cannot be read: is a directory."),
        ("\0", "cannot be read: embedded null byte."),
        ("x" * 9999, "xxx cannot be read: file name too long."),
        ('["x"]', '["x"] cannot be read: no such file or directory.'),
    ],
    ids=lambda value: value[:20],
)
def test_a_file_that_cannot_be_read_is_refused(source: str, problem: str) -> None:
    assert refused(source).endswith(problem)
    assert len(refused(source)) < 300


def test_neither_hashes_nor_salt_fill_the_screen() -> None:
    assert PETS.salt not in repr(PETS)
    assert PETS.commitments[0] not in repr(verify(PETS))


def test_what_is_verified_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        verify(PETS).count = 0  # type: ignore[misc]  # the point of it
    assert isinstance(verify(PETS), Verification)
