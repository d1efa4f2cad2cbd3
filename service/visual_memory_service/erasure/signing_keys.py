"""Signing keys of certificates, made at the first start and readable by their owner alone."""

from __future__ import annotations

import re
from pathlib import Path

import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from visual_memory_index import read_small, write_private
from visual_memory_service.config import BadSetting

PRIVATE, FORMER = "signing.pem", "former.txt"
PUBLIC_HEX = re.compile("[0-9a-f]{64}")
MISSING = (
    "The file was missing from a data folder that was used: certificates signed by its former key "
    "will no longer be verified by this server."
)
log = structlog.get_logger()


class BadKey(BadSetting):
    """A key file that cannot be read, or holds no usable key."""

    def __init__(
        self, path: Path, unreadable: OSError | None = None, *, line: int | None = None
    ) -> None:
        if unreadable:
            problem = (
                f"{path} cannot be read ({unreadable.strerror}); let the server read it, or bring "
                "it back from a copy of the folder."
            )
        elif line:
            problem = (
                f"{path}, line {line}, is no public key of 64 hex digits; bring the file back from "
                "a copy of the folder, or remove the line: then that key is not published."
            )
        else:
            problem = (
                f"{path} holds no Ed25519 key without a password; bring it back from a copy of "
                "the folder, or remove it: then a new key signs, and the former one is not "
                "published."
            )
        super().__init__(problem)


class SigningKeys:
    """The private key that signs certificates, in a data folder, and all public keys.

    A key is made if there is none, with a warning in the log if the folder was used. Raises
    FileUnavailable if a file cannot be written, BadKey if a key cannot be read.
    """

    def __init__(self, data: Path) -> None:
        self._path = data / "keys" / PRIVATE
        self._former_path = self._path.with_name(FORMER)
        if not is_there(self._path):
            if is_there(self._former_path) or any((data / "memories").glob("*.sqlite")):
                log.warning("new signing key", path=str(self._path), reason=MISSING)
            self._write(Ed25519PrivateKey.generate())
        self.private = read(self._path)
        current = public_hex(self.private)  # former too if a rotation was cut short
        self._former = [key for key in read_former(self._former_path) if key != current]

    @property
    def public(self) -> list[str]:
        """Return the public keys in hex: the current key, then former keys, latest first."""
        return [public_hex(self.private), *reversed(self._former)]

    def rotate(self) -> None:
        """Sign with a new key from now on, and publish the former key."""
        self._former = [*self._former, public_hex(self.private)]
        write_private(self._former_path, "".join(f"{key}\n" for key in self._former).encode())
        self.private = Ed25519PrivateKey.generate()
        self._write(self.private)

    def _write(self, key: Ed25519PrivateKey) -> None:
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        write_private(self._path, pem)


def read(path: Path) -> Ed25519PrivateKey:
    """Read an Ed25519 private key from a PEM file. Raises BadKey if there is no usable key."""
    try:
        key = serialization.load_pem_private_key(read_small(path), None)
    except OSError as problem:
        raise BadKey(path, problem) from problem
    except (ValueError, TypeError, UnsupportedAlgorithm) as problem:  # TypeError: it has a password
        raise BadKey(path) from problem
    if not isinstance(key, Ed25519PrivateKey):
        raise BadKey(path)
    return key


def read_former(path: Path) -> list[str]:
    """Return the public keys of former private keys, in hex, oldest first. Raises BadKey."""
    try:
        text = read_small(path).decode("latin-1") if is_there(path) else ""
    except OSError as problem:
        raise BadKey(path, problem) from problem
    keys = [line.strip() for line in text.splitlines()]
    for number, key in enumerate(keys, start=1):
        if key and not PUBLIC_HEX.fullmatch(key):
            raise BadKey(path, line=number)
    return list(dict.fromkeys(filter(None, keys)))


def is_there(path: Path) -> bool:
    """Return True if there is a file, or a link, even one to nothing."""
    return path.exists() or path.is_symlink()


def public_hex(key: Ed25519PrivateKey) -> str:
    """Return the public key of a private key, in hex."""
    return key.public_key().public_bytes_raw().hex()
