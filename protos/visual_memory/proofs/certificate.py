"""Certificates of erasure: signed JSON that anybody checks without a server."""

from __future__ import annotations

import hashlib
import os
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from visual_memory.errors import InvalidCertificate
from visual_memory.files import whole_file
from visual_memory.proofs.canonical_json import WHOLE_MAX, canonical, parse
from visual_memory.proofs.keys import KEY_BYTES, PublicKey, fingerprint, is_weak, to_keys

FORMAT = "visual-memory certificate of erasure"
VERSION = 1
CONSTANTS: Mapping[str, Any] = MappingProxyType({"format": FORMAT, "version": VERSION, "found": 0})
SIGNED = b"visual-memory certificate of erasure 1\0"
COMMITTED = b"visual-memory id 1\0"
COMMITMENT_BYTES = 16
ERASURES = ("files", "files+memory")
SALT_BYTES = HASH_BYTES = 32
SIGNATURE_BYTES = 64
COUNT_MAX = 1_000_000
CERTIFICATE_BYTES_MAX = 64 << 20
CHARACTERS_MAX = 65_536
TIME = "%Y-%m-%dT%H:%M:%SZ"
SURROGATE = re.compile("[\ud800-\udfff]")

Source: TypeAlias = str | bytes | os.PathLike[str]
Reader: TypeAlias = Callable[[object], Any]


class Flaw(Exception):
    """A fault of a certificate; the message is a phrase that follows "the certificate"."""


@dataclass(frozen=True, slots=True)
class Searched:
    """A place that was searched for traces of the erased entries, and its size in bytes."""

    where: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """The content of a certificate. Hashes and salt are lower-case hex, times whole seconds of UTC.

    ``commitments`` are salted hashes of the ids, ascending, and ``count`` is their number.
    ``embedder`` is its spec as text, empty for a memory of vectors. ``audit_index`` is the number
    of the erasure's event in the memory's audit log, ``audit_event`` the hash of that event, and
    ``audit_root`` the root of the log up to it. The places in ``searched`` were searched for
    ``looked_for`` traces after the erasure. None was found but data that the memories ``also_in``
    hold, too; the erased memory is one of these if another entry has the same content. ``backups``
    are the times of backups that may hold what was erased; ``not_covered`` says what else is not
    promised. ``erasure`` is "files" if the server erased from files alone, as where it was
    interrupted after the deletion, "files+memory" if its RAM was overwritten and searched, too;
    empty in early certificates. ``time`` is the time of the
    deletion, ``end_time`` that of the end of the search, None in early certificates.
    """

    memory: str
    memory_uid: str
    dimension: int
    embedder: str
    server: str
    operation: str
    time: datetime
    count: int
    salt: str = field(repr=False)
    commitments: tuple[str, ...] = field(repr=False)
    digest_before: str
    digest_after: str
    audit_index: int
    audit_event: str
    audit_root: str
    looked_for: int
    searched: tuple[Searched, ...]
    backups: tuple[datetime, ...]
    not_covered: tuple[str, ...]
    also_in: tuple[str, ...] = ()
    erasure: str = ""
    end_time: datetime | None = None

    def holds(self, id: str) -> bool:
        """Return True if the entry with this id was erased."""
        wanted = commitment(self.salt, id)
        at = bisect_left(self.commitments, wanted)
        return self.commitments[at : at + 1] == (wanted,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate(Statement):
    """A statement with its signer's public key and signature, both in hex.

    ``verify`` checks the signature, ``read`` does not.
    """

    public_key: str
    signature: str

    @classmethod
    def read(cls, source: Source) -> Self:
        """Read a certificate from a path, or from the JSON itself. Raises InvalidCertificate.

        Bytes are JSON, and so is text that begins with a brace.
        """
        try:
            return cls.of(content(source))
        except Flaw as flaw:
            raise damaged(flaw) from None

    @classmethod
    def of(cls, data: str | bytes) -> Self:
        """Parse a certificate from its JSON.

        Raises Flaw if it is malformed, InvalidCertificate if it is of another version.
        """
        document = to_document(data)
        said = {name: to_field(document, name) for name in READERS if name in document}
        certificate = cls(**said)
        check_commitments(certificate)
        return certificate

    @property
    def signer(self) -> str:
        """Return the fingerprint of ``public_key``, the key that is said to have signed."""
        return fingerprint(bytes.fromhex(self.public_key))

    def to_json(self) -> str:
        """Return the certificate as JSON, canonical by RFC 8785."""
        return canonical(from_certificate(self))

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the certificate to a file, whole or not at all.

        Raises AlreadyExists if the file exists, unless ``overwrite``, and InvalidArgument if it
        cannot be written.
        """
        with whole_file(path, overwrite=overwrite) as file:
            file.write(self.to_json().encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification(Statement):
    """The statement of a certificate whose signature is valid.

    ``public_key`` is the signer's key in hex, and ``signer`` its fingerprint. ``trusted`` is True
    if the caller gave that key, and None if the caller gave none: anybody can sign with their own
    key.
    """

    public_key: str
    signer: str
    trusted: bool | None


def sign(statement: Statement, private_key: Ed25519PrivateKey) -> Certificate:
    """Sign a statement. Raises InvalidCertificate if the certificate could not be read back."""
    unsigned = Certificate(
        **values(statement),
        public_key=private_key.public_key().public_bytes_raw().hex(),
        signature="00" * SIGNATURE_BYTES,
    )
    try:
        Certificate.of(unsigned.to_json())
    except Flaw as flaw:
        raise InvalidCertificate(
            f"Nothing was signed, for the certificate {flaw}, and nobody would read it."
        ) from None
    return replace(unsigned, signature=private_key.sign(signed(unsigned)).hex())


def verify(
    path_or_certificate: Source | Certificate,
    public_key: PublicKey | Iterable[PublicKey] | None = None,
    *,
    memory: str | None = None,
) -> Verification:
    """Check a certificate without a server. Raises InvalidCertificate, InvalidArgument for a key.

    Without ``public_key`` this shows that the certificate is unchanged since the key that it names
    signed it. With one key or several, each as 32 bytes, hex, PEM or the path of a file with one of
    these, one of them must have signed. With ``memory``, the certificate must be of that memory.
    """
    keys = None if public_key is None else to_keys(public_key, "public_key")
    given = path_or_certificate
    certificate = Certificate.read(given.to_json() if isinstance(given, Certificate) else given)
    check_signature(certificate)
    if keys is not None and bytes.fromhex(certificate.public_key) not in keys:
        raise InvalidCertificate(
            f"The certificate is signed by the key {certificate.public_key}, and not by "
            f"{' or '.join(map(bytes.hex, keys))}; do not rely on it unless you trust that key."
        )
    if memory not in (None, certificate.memory):
        raise InvalidCertificate(
            f"The certificate is of the memory {shown(certificate.memory)}, and not of "
            f"{shown(memory)}; ask for the one of that memory."
        )
    return Verification(
        **values(certificate),
        public_key=certificate.public_key,
        signer=certificate.signer,
        trusted=None if keys is None else True,
    )


def commitment(salt: str, id: str) -> str:
    """Return the salted hash of an id, in hex: anyone who has the id can recompute it."""
    named = id.encode("utf-8", "surrogatepass")  # which no id is; so it is not found
    whole = hashlib.sha256(COMMITTED + bytes.fromhex(salt) + named)
    return whole.digest()[:COMMITMENT_BYTES].hex()


def check_signature(certificate: Certificate) -> None:
    """Check that the signature fits the certificate. Raises InvalidCertificate."""
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(certificate.public_key))
    try:
        key.verify(bytes.fromhex(certificate.signature), signed(certificate))
    except InvalidSignature:
        raise damaged(
            "was changed after it was signed, so that its signature does not fit"
        ) from None


def signed(certificate: Certificate) -> bytes:
    """Return the bytes to sign: the prefix ``SIGNED`` and, as JSON, all but the signature."""
    document = from_certificate(certificate)
    del document["signature"]
    return SIGNED + canonical(document).encode()


def values(statement: Statement) -> dict[str, Any]:
    """Return the fields of a statement by name; of a certificate, all but key and signature."""
    return {each.name: getattr(statement, each.name) for each in fields(Statement)}


def from_certificate(certificate: Certificate) -> dict[str, Any]:
    """Convert a certificate to a JSON object.

    Fields that the first certificates lack (``LATER``) are left out if empty.
    """
    said = {name: plain(getattr(certificate, name)) for name in READERS}
    return {**CONSTANTS} | {name: said[name] for name in READERS if said[name] or name not in LATER}


def plain(value: object) -> object:
    """Convert the value of a field to a value that JSON can hold."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Searched):
        return asdict(value)
    return [plain(each) for each in value] if isinstance(value, tuple) else value


def content(source: Source) -> str | bytes:
    """Return the JSON of a certificate: ``source`` itself or, if it is a path, the file's content.

    Raises InvalidCertificate if the file cannot be read.
    """
    if isinstance(source, bytes):
        return source
    if not isinstance(source, str | os.PathLike):
        raise InvalidCertificate(
            f"A certificate is JSON, or the path of a file with it, but not {source!r:.80}."
        )
    if isinstance(source, str) and source.lstrip("\ufeff \t\r\n").startswith("{"):
        return source
    try:
        with Path(source).open("rb") as file:
            return file.read(CERTIFICATE_BYTES_MAX + 1)  # one more shows that there are too many
    except (OSError, ValueError) as problem:
        why = str(getattr(problem, "strerror", None) or problem).lower()
        raise InvalidCertificate(f"{Path(source)!s:.200} cannot be read: {why}.") from None


def to_document(data: str | bytes) -> dict[str, object]:
    """Parse JSON to an object with exactly the fields of a certificate.

    Fields that the first certificates lack (``LATER``) may be missing. Raises Flaw, and
    InvalidCertificate for another version.
    """
    if len(data) > CERTIFICATE_BYTES_MAX:
        raise Flaw(f"has more than {CERTIFICATE_BYTES_MAX} bytes")
    try:
        document = parse(data)
    except ValueError as problem:
        raise Flaw(f"{problem}, so this file may be none") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise Flaw(f"is no JSON object with the format {FORMAT!r}")
    check_version(document.get("version"))
    if differing := (document.keys() ^ {*CONSTANTS, *READERS}) - (LATER - document.keys()):
        name = min(differing)
        which = "has an unknown" if name in document else "lacks the"
        raise Flaw(f"{which} field {shown(name)}")
    for name, value in CONSTANTS.items():
        if type(document[name]) is not type(value) or document[name] != value:
            raise wrong(document, name, f"must be {value!r}")
    return document


def check_version(version: object) -> None:
    """Raise InvalidCertificate for a version that only another release can read."""
    if type(version) is int and version != VERSION:
        which = "a newer" if version > VERSION else "an older"
        raise InvalidCertificate(
            f"The certificate has version {version}, and this release reads version {VERSION}; "
            f"verify it with {which} release of visual-memory."
        )


def to_field(document: Mapping[str, object], name: str) -> Any:
    """Read the field ``name`` of a certificate's JSON by its reader in ``READERS``.

    Raises Flaw if the value is invalid, or empty where the field could be left out (``LATER``).
    """
    try:
        found = READERS[name](document[name])
    except ValueError as wish:
        raise wrong(document, name, str(wish)) from None
    if name in LATER and not found:
        raise wrong(document, name, "must have one at least, or not be there")
    return found


def check_commitments(certificate: Certificate) -> None:
    """Raise Flaw unless there are ``count`` commitments, ascending and at most a million."""
    count, commitments = certificate.count, certificate.commitments
    if count != len(commitments):
        raise Flaw(f"has the count {count}, but {len(commitments)} commitments")
    if count > COUNT_MAX:
        raise Flaw(f"has the count {count}, but one certificate is for at most {COUNT_MAX}")
    if any(one >= other for one, other in pairwise(commitments)):
        raise Flaw("has commitments that do not ascend")


def text(value: object) -> str:
    """Check and return text: at most 65,536 characters, no lone surrogates. Raises ValueError."""
    if type(value) is str and len(value) <= CHARACTERS_MAX and not SURROGATE.search(value):
        return value
    raise ValueError(f"must be text of at most {CHARACTERS_MAX} characters")


def whole(value: object) -> int:
    """Check and return a whole number from 0 to 2^53 − 1, no bool. Raises ValueError."""
    if type(value) is int and 0 <= value <= WHOLE_MAX:
        return value
    raise ValueError(f"must be a whole number from 0 to {WHOLE_MAX}")


def moment(value: object) -> datetime:
    """Parse a UTC time such as ``2026-01-31T12:00:00Z``. Raises ValueError for any other form."""
    try:
        found = datetime.strptime(text(value), TIME).replace(tzinfo=UTC)
    except ValueError:
        found = None
    if found is None or plain(found) != value:
        raise ValueError("must be a time in whole seconds, such as 2026-01-31T12:00:00Z")
    return found


def place(value: object) -> Searched:
    """Parse a searched place of JSON, with its name ``where`` and its size ``bytes``.

    Raises ValueError if it has other fields or values.
    """
    if not isinstance(value, dict) or value.keys() != {"where", "bytes"}:
        raise ValueError("must have where and bytes in each")
    return Searched(text(value["where"]), whole(value["bytes"]))


def matching(form: str, wish: str) -> Reader:
    """Return a reader of text that matches the regular expression ``form``.

    For any other value the reader raises ValueError with ``wish``, which says how it must be.
    """
    pattern = re.compile(form)

    def read(value: object) -> str:
        if type(value) is str and pattern.fullmatch(value):
            return value
        raise ValueError(wish)

    return read


def hexadecimal(size: int) -> Reader:
    """Return a reader of text that is ``size`` bytes in lower-case hex, and returns the text."""
    return matching(f"[0-9a-f]{{{2 * size}}}", f"must be {2 * size} digits of lower-case hex")


def key(value: object) -> str:
    """Check and return a public key in lower-case hex. Raises ValueError, also for a weak key."""
    found: str = hexadecimal(KEY_BYTES)(value)
    if is_weak(bytes.fromhex(found)):
        raise ValueError("must be a key whose signatures mean something")
    return found


def every(read: Reader) -> Reader:
    """Return a reader of a JSON list, which returns a tuple of its items, each read by ``read``."""

    def read_all(value: object) -> tuple[Any, ...]:
        if type(value) is not list:
            raise ValueError("must be a list")
        return tuple(map(read, value))

    return read_all


READERS: Mapping[str, Reader] = MappingProxyType(
    {
        "memory": text,
        "memory_uid": text,
        "dimension": whole,
        "embedder": text,
        "server": text,
        "operation": text,
        "time": moment,
        "count": whole,
        "salt": hexadecimal(SALT_BYTES),
        "commitments": every(hexadecimal(COMMITMENT_BYTES)),
        "digest_before": hexadecimal(HASH_BYTES),
        "digest_after": hexadecimal(HASH_BYTES),
        "audit_index": whole,
        "audit_event": hexadecimal(HASH_BYTES),
        "audit_root": hexadecimal(HASH_BYTES),
        "looked_for": whole,
        "searched": every(place),
        "backups": every(moment),
        "not_covered": every(text),
        "also_in": every(text),
        "erasure": matching(
            "|".join(map(re.escape, ERASURES)), f"must be {' or '.join(map(repr, ERASURES))}"
        ),
        "end_time": moment,
        "public_key": key,
        "signature": hexadecimal(SIGNATURE_BYTES),
    }
)
# Fields that the first certificates lack, which are read as they are.
LATER = frozenset({"also_in", "erasure", "end_time"})


def damaged(problem: object) -> InvalidCertificate:
    """Return the error for a certificate that is not as its signer made it.

    ``problem`` is a predicate of the certificate for its message.
    """
    return InvalidCertificate(
        f"The certificate {problem}; get it again from the server that made it."
    )


def wrong(document: Mapping[str, object], name: str, wish: str) -> Flaw:
    """Return the error for the field ``name``; ``wish`` says how its value must be."""
    return Flaw(f"says {name}: {shown(document[name])}, which {wish}")


def shown(value: object) -> str:
    """Format a value for an error: text cut short, lists and dicts without their content."""
    if isinstance(value, str):
        return repr(value[:60])
    return "{…}" if isinstance(value, dict) else "[…]" if isinstance(value, list) else repr(value)
