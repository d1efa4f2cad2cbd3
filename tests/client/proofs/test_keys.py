"""A public key is taken in each form that people have it in, and in no other."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from visual_memory import InvalidArgument
from visual_memory.proofs.keys import fingerprint, to_keys

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
RAW = PRIVATE.public_key().public_bytes_raw()
FORM = PublicFormat.SubjectPublicKeyInfo
PEM = PRIVATE.public_key().public_bytes(Encoding.PEM, FORM)
EC_PEM = derive_private_key(1, SECP256R1()).public_key().public_bytes(Encoding.PEM, FORM)
PRIVATE_PEM = PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
KINDS = "must be a public key of Ed25519, as 32 bytes, as 64 digits of lower-case hex, or as PEM"
ALONE = "must be one key alone, without (former) and other lines."


@pytest.mark.parametrize(
    "given",
    [RAW, RAW.hex(), f"{RAW.hex()}\n", RAW.hex().encode(), PEM, PEM.decode()],
    ids=["raw", "hex", "a line of hex", "hex as bytes", "PEM as bytes", "PEM"],
)
def test_a_key_is_given_as_it_is_or_in_a_file(given: str | bytes, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(given if isinstance(given, bytes) else given.encode())

    assert to_keys(given, "key") == to_keys(file, "key") == to_keys(str(file), "key") == [RAW]


def test_several_keys_are_given_in_any_forms() -> None:
    other = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    forms: list[str | bytes] = [other.hex(), PEM]

    assert to_keys(forms, "key") == to_keys(iter(forms), "key") == [other, RAW]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("nowhere.pem", "key: no such file: nowhere.pem"),
        (RAW.hex().upper(), f"key {KINDS}"),
        (RAW.hex().upper().encode(), f"key {KINDS}"),
        (RAW.hex()[:-1].encode(), f"key {KINDS}"),
        (RAW + b"\0", f"key {KINDS}"),
        (b"", f"key {KINDS}"),
        (EC_PEM, f"key {KINDS}"),
        (PRIVATE_PEM, f"key {KINDS}"),
        (PEM[:-40], f"key {KINDS}"),
        (f"{RAW.hex()} (former)\n", f"key {ALONE}"),
        (f"{RAW.hex()}\n{RAW.hex()} (former)\n".encode(), f"key {ALONE}"),
        ([], "key must name at least one key."),
        ([PEM, b"x"], f"key[1] {KINDS}"),
        ([None], "key[0] must be bytes, text or a path, but is None."),
        (7, "key must be a key, or a list of keys, but is 7."),
        (bytearray(RAW), "key[0] must be bytes, text or a path, but is "),
    ],
)
def test_what_is_no_key_is_refused(given: object, sentence: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        to_keys(given, "key")  # type: ignore[arg-type]  # the point of it

    assert caught.value.message.startswith(sentence)


def test_a_fingerprint_is_the_hash_of_the_raw_key() -> None:
    assert fingerprint(RAW) == hashlib.sha256(RAW).hexdigest()
