"""The certificates of a server that speaks TLS, read again where their files have changed."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import Certificate, load_pem_x509_certificates

from visual_memory_service.access.secret_files import tell_if_open
from visual_memory_service.config import BadSetting

SOON = timedelta(days=14)
log = structlog.get_logger()


class Loaded(NamedTuple):
    """What files say, as gRPC and HTTP take it, and the certificate of the server itself."""

    for_grpc: grpc.ServerCertificateConfiguration
    context: ssl.SSLContext
    leaf: Certificate


class Certificates:
    """The files of a certificate, its private key, and the CAs of client certificates, or None.

    Where they have changed, and cannot be used or have ended, those of before stay. Raises
    BadSetting if they cannot be used at the start, or do not fit each other.
    """

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None) -> None:
        self._certificate, self._key, self._client_ca = certificate, key, client_ca
        self._versions, self._problem = self._seen(), ""
        self._current = self._read()
        if problem := unfit(self._current.leaf):
            log.error("certificate not valid", problem=f"{certificate} {problem}; renew it.")

    def credentials(self) -> grpc.ServerCredentials:
        """Return what gRPC needs to listen; each handshake has the files as they are then."""
        self._refresh()
        told = self._current

        def changed() -> grpc.ServerCertificateConfiguration | None:
            nonlocal told
            self._refresh()
            if told is self._current:
                return None
            told = self._current
            return told.for_grpc

        return grpc.dynamic_ssl_server_credentials(
            told.for_grpc,
            changed,  # type: ignore[arg-type]  # None is for what has not changed
            require_client_authentication=self._client_ca is not None,
        )

    def gauges(self) -> dict[str, tuple[str, float]]:
        """Return the end of the certificate as it is now: help and value by name."""
        self._refresh()
        end = self._current.leaf.not_valid_after_utc.timestamp()
        said = "When the server's TLS certificate ends, in seconds since 1970."
        return {"visual_memory_certificate_end_timestamp_seconds": (said, end)}

    def context(self) -> ssl.SSLContext:
        """Return what HTTP needs for a handshake now."""
        self._refresh()
        return self._current.context

    def _refresh(self) -> None:
        """Read the files if they have changed; a problem is logged once."""
        try:
            versions = self._seen()
            if versions == self._versions:
                return
            read = self._read()
            if (problem := unfit(read.leaf)) and not unfit(self._current.leaf):
                raise BadSetting(f"{self._certificate} {problem}; renew it.")
            self._current = read
        except BadSetting as problem:
            if str(problem) != self._problem:
                self._problem = str(problem)
                log.error("certificates not read", problem=self._problem, stays="the former one")
        else:
            self._versions, self._problem = versions, ""
            log.info("certificates read")

    def _seen(self) -> list[tuple[int, ...]]:
        """Return what differs once a file has changed, or may be read by others than before."""
        seen: list[tuple[int, ...]] = []
        for path in filter(None, (self._certificate, self._key, self._client_ca)):
            with reading(path):
                found = os.stat(path)
            seen.append((found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))
        return seen

    def _read(self) -> Loaded:
        chain, key = read(self._certificate), read(self._key)
        client_ca = None if self._client_ca is None else read(self._client_ca)
        with using(self._certificate, "certificate"):
            (leaf, *_) = load_pem_x509_certificates(chain)
        with using(self._key, "private key without a password"):
            private: Any = load_pem_private_key(key, None)
        if private.public_key() != leaf.public_key():
            raise BadSetting(f"{self._key} is not the private key of {self._certificate}.")
        if self._client_ca is not None and client_ca is not None:
            with using(self._client_ca, "certificate"):
                load_pem_x509_certificates(client_ca)
        end, now = leaf.not_valid_after_utc, datetime.now(UTC)
        if now <= end < now + SOON:
            log.warning("the certificate ends", path=str(self._certificate), at=end.isoformat())
        tell_if_open(self._key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with reading(self._certificate), using(self._certificate, "certificate of the key"):
            context.load_cert_chain(self._certificate, self._key)
        if self._client_ca is not None:
            with reading(self._client_ca), using(self._client_ca, "certificate"):
                context.load_verify_locations(self._client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        context.set_alpn_protocols(["http/1.1"])
        for_grpc = grpc.ssl_server_certificate_configuration([(key, chain)], client_ca)
        return Loaded(for_grpc, context, leaf)


def unfit(leaf: Certificate) -> str:
    """Return that a certificate has ended or has not begun, or ""."""
    begin, end, now = leaf.not_valid_before_utc, leaf.not_valid_after_utc, datetime.now(UTC)
    if end < now:
        return f"has ended, at {end.isoformat()}"
    return f"has not begun: it does at {begin.isoformat()}" if now < begin else ""


def read(path: Path) -> bytes:
    """Read a file. Raises BadSetting."""
    with reading(path):
        return path.read_bytes()


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Context manager that raises BadSetting for an OSError."""
    try:
        yield
    except OSError as problem:
        raise BadSetting(f"{path} cannot be read: {problem.strerror or problem}.") from None


@contextmanager
def using(path: Path, kind: str) -> Iterator[None]:
    """Context manager that raises BadSetting if the file is not of this kind."""
    try:
        yield
    except (ValueError, TypeError, UnsupportedAlgorithm, ssl.SSLError):  # TypeError: a password
        raise BadSetting(f"{path} holds no {kind} in PEM.") from None
