"""The keys that sign certificates: made at the first start, readable by their owner alone."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from visual_memory_index import write_private

PRIVATE, FORMER = "signing.pem", "former.txt"


class SigningKeys:
    """One private key, and the public ones of those that signed before it.

    Raises DiskFull, and ValueError where a file holds no such key.
    """

    def __init__(self, data: Path) -> None:
        self._folder = data / "keys"
        if not self._path.exists():
            self._write(Ed25519PrivateKey.generate())
        loaded = serialization.load_pem_private_key(self._path.read_bytes(), None)
        if not isinstance(loaded, Ed25519PrivateKey):
            raise ValueError(f"{self._path} holds no Ed25519 key")
        self.private = loaded

    @property
    def public(self) -> list[str]:
        """Hex: the key that signs now, then the former ones, the latest first."""
        return [public_hex(self.private), *reversed(self._former())]

    def rotate(self) -> None:
        """Sign with a new key from now on, and publish the former one."""
        former = [*self._former(), public_hex(self.private)]
        write_private(self._folder / FORMER, "".join(f"{key}\n" for key in former).encode())
        self.private = Ed25519PrivateKey.generate()
        self._write(self.private)

    @property
    def _path(self) -> Path:
        return self._folder / PRIVATE

    def _former(self) -> list[str]:
        path = self._folder / FORMER
        return path.read_text().split() if path.exists() else []

    def _write(self, key: Ed25519PrivateKey) -> None:
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        write_private(self._path, pem)


def public_hex(key: Ed25519PrivateKey) -> str:
    """The public key of a private one."""
    return key.public_key().public_bytes_raw().hex()
