"""Public keys of Ed25519, as bytes, hex, PEM or a file."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from typing import TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from visual_memory.errors import refuse
from visual_memory.files import read_file

PublicKey: TypeAlias = str | bytes | os.PathLike[str]

KEY_BYTES = 32
HEX = re.compile(rb"[0-9a-f]{%d}" % (2 * KEY_BYTES))
PEM = b"-----BEGIN "
FORMER = b"(former)"  # what the command visual-memory signing-keys prints after a former key
P = 2**255 - 19
Y_OF_ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
WEAK = frozenset((0, 1, P - 1, Y_OF_ORDER_8, P - Y_OF_ORDER_8))  # y of each point of small order


def fingerprint(key: bytes) -> str:
    """Return the fingerprint of a key: SHA-256 of its 32 bytes, in hex."""
    return hashlib.sha256(key).hexdigest()


def is_weak(key: bytes) -> bool:
    """Return True for a key of small order, with which one signature fits any content."""
    return int.from_bytes(key, "little") % 2**255 % P in WEAK


def to_keys(given: PublicKey | Iterable[PublicKey], path: str) -> list[bytes]:
    """Return the 32 bytes of each key of ``given``, one key or several, as ``to_key`` does.

    Raises InvalidArgument, naming the argument ``path``, also if there is none.
    """
    if isinstance(given, str | bytes | os.PathLike):
        return [to_key(given, path)]
    if not isinstance(given, Iterable):
        refuse(path, f"must be a key, or a list of keys, but is {given!r:.80}")
    keys = [to_key(each, f"{path}[{at}]") for at, each in enumerate(given)]
    if not keys:
        refuse(path, "must name at least one key")
    return keys


def to_key(given: PublicKey, path: str) -> bytes:
    """Return the 32 bytes of a key, given as bytes, hex, PEM or a file with one of these.

    Raises InvalidArgument, naming the argument ``path``, if it is no key, or a weak one.
    """
    key = read_key(given, path)
    if is_weak(key):
        refuse(path, "must be a key whose signatures mean something: this one fits any content")
    return key


def read_key(given: PublicKey, path: str) -> bytes:
    """Return the 32 bytes of a key, weak or not, given as for ``to_key``.

    Raises InvalidArgument, naming the argument ``path``, if it is no key.
    """
    data = content(given, path)
    if len(data) == KEY_BYTES:
        return data
    if HEX.fullmatch(data.strip()):
        return bytes.fromhex(data.decode().strip())
    if data.strip().endswith(FORMER):
        refuse(path, f"must be one key alone, without {FORMER.decode()} and other lines")
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        refuse(
            path,
            f"must be a public key of Ed25519, as {KEY_BYTES} bytes, as {2 * KEY_BYTES} digits of "
            "lower-case hex, or as PEM, or a file with one",
        )
    return key.public_bytes_raw()


def content(given: PublicKey, path: str) -> bytes:
    """Return a key given as bytes or text as bytes, or else the content of the file it names.

    Raises InvalidArgument, naming the argument ``path``, if the file cannot be read.
    """
    if isinstance(given, bytes):
        return given
    if isinstance(given, str):
        data = given.encode("utf-8", "surrogateescape")
        text = data.strip().lower()
        is_key = PEM in data or HEX.fullmatch(text.removesuffix(FORMER).strip())
        return data if is_key else read_file(given, path)
    if isinstance(given, os.PathLike):
        return read_file(given, path)
    refuse(path, f"must be bytes, text or a path, but is {given!r:.80}")
