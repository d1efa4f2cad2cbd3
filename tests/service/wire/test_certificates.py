"""A server with certificates speaks TLS alone, and takes new ones without a stop."""

from __future__ import annotations

import shutil
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import structlog
from tests.authorities import Authority, Pair
from tests.conftest import Server

import visual_memory
from visual_memory_service.access.key_file import KeyFile
from visual_memory_service.access.keys import Key
from visual_memory_service.config import BadSetting
from visual_memory_service.wire.certificates import Certificates

HANDSHAKE = 10.0  # seconds


class Secured(NamedTuple):
    """A server that speaks TLS, and the CA that has issued its certificate."""

    server: Server
    authority: Authority

    def connect(self, **more: Any) -> visual_memory.Client:
        options: dict[str, Any] = {
            "root_certificates": self.authority.path,
            "timeout": HANDSHAKE,
        }
        options |= more
        return visual_memory.connect(self.server.address, **options)


def flags(pair: Pair, *more: object) -> list[str]:
    return list(map(str, ("--tls-certificate", pair.certificate, "--tls-key", pair.key, *more)))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ours")


@pytest.fixture
def secured(tmp_path: Path, authority: Authority, start: Callable[..., Server]) -> Secured:
    server = start(tmp_path / "data", *flags(authority.issue("server")), "--erasure", "files")
    return Secured(server, authority)


def test_who_trusts_the_authority_is_answered(secured: Secured) -> None:
    with secured.connect() as client:
        assert client.create_memory("pets", dimension=4).info().count == 0


def test_who_trusts_another_authority_is_not(secured: Secured, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other")

    with (
        secured.connect(root_certificates=other.path) as client,
        pytest.raises(
            visual_memory.Unavailable,
            match=r"No secure connection to .*of no CA that is trusted; .*--root-certificates",
        ),
    ):
        client.server_info()


def test_files_that_are_no_certificates_are_told(secured: Secured, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")

    with pytest.raises(
        visual_memory.InvalidArgument,
        match=r"root_certificates holds no certificate in PEM, in the file .*notes\.txt[.]$",
    ):
        secured.connect(root_certificates=tmp_path / "notes.txt")
    with (
        secured.connect(root_certificates=b"-----BEGIN CERTIFICATE-----\nnothing") as client,
        pytest.raises(visual_memory.Unavailable, match="must be files in PEM"),
    ):
        client.server_info()


def test_a_certificate_for_another_name_is_told(
    tmp_path: Path, start: Callable[..., Server], authority: Authority
) -> None:
    server = start(tmp_path / "data", *flags(authority.issue("elsewhere.example", local=False)))

    with (
        Secured(server, authority).connect() as client,
        pytest.raises(visual_memory.Unavailable, match="not for this name; call it by a name that"),
    ):
        client.server_info()


def test_a_certificate_that_has_ended_is_not_trusted(
    authority: Authority, tmp_path: Path, start: Callable[..., Server]
) -> None:
    server = start(tmp_path / "data", *flags(authority.issue("late", days=-1)))

    with (
        Secured(server, authority).connect() as client,
        pytest.raises(visual_memory.Unavailable, match="its certificate has ended, or has not beg"),
    ):
        client.server_info()
    server.end()
    assert "late-cert.pem has ended, at 2" in server.last_log
    assert '"the certificate ends"' not in server.last_log


def test_a_name_that_leads_to_several_addresses_is_told_as_not_in_the_certificate(
    tmp_path: Path, start: Callable[..., Server], authority: Authority
) -> None:
    pair = authority.issue("elsewhere.example", local=False)
    port = start(tmp_path / "data", *flags(pair)).address.rpartition(":")[2]

    for _ in range(3):  # ::1, where nobody listens, is tried before or after
        with (
            visual_memory.connect(
                f"localhost:{port}", root_certificates=authority.path, timeout=HANDSHAKE
            ) as client,
            pytest.raises(visual_memory.Unavailable, match="not for this name"),
        ):
            client.server_info()


@pytest.mark.parametrize("flag", ["--http-listen", "--metrics-listen"])
@pytest.mark.parametrize("tls", [False, True])
def test_the_other_ports_are_told_from_that_of_grpc(
    flag: str, tls: bool, tmp_path: Path, start: Callable[..., Server], authority: Authority
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    secure = tls and flag == "--http-listen"  # metrics are in plain text always
    more = flags(authority.issue("server")) if secure else ()
    start(tmp_path / "data", flag, f"127.0.0.1:{port}", "--erasure", "files", *more)

    with (
        visual_memory.connect(
            f"localhost:{port}",
            root_certificates=authority.path if secure else None,
            timeout=HANDSHAKE,
        ) as client,
        pytest.raises(visual_memory.Unavailable, match=r"does not speak gRPC.*of --listen\.$"),
    ):
        client.server_info()


def test_plain_text_to_a_port_of_tls_is_told_what_it_wants(secured: Secured) -> None:
    with (
        visual_memory.connect(secured.server.address, timeout=HANDSHAKE) as client,
        pytest.raises(visual_memory.Unavailable, match="TLS"),
    ):
        client.server_info()


def test_tls_to_a_plain_port_is_refused_in_words(server: Server, authority: Authority) -> None:
    with (
        Secured(server, authority).connect() as client,
        pytest.raises(
            visual_memory.Unavailable,
            match=r"No secure connection .* answers without TLS. Call the port of",
        ),
    ):
        client.server_info()


def test_client_certificates_are_asked_for_and_name_the_principal(
    authority: Authority, tmp_path: Path, start: Callable[..., Server]
) -> None:
    made = Key("robot", ("admin",), (), created=datetime.now(UTC))
    KeyFile(tmp_path / "data").change(lambda keys: [made])
    clients, strangers = Authority(tmp_path, "clients"), Authority(tmp_path, "strangers")
    server = start(
        tmp_path / "data", *flags(authority.issue("server"), "--tls-client-ca", clients.path)
    )
    secured = Secured(server, authority)
    robot, nobody, stranger = (
        clients.issue("robot"),
        clients.issue("nobody"),
        strangers.issue("stranger"),
    )

    def as_pair(pair: Pair) -> dict[str, Path]:
        return {"client_certificate": pair.certificate, "client_key": pair.key}

    with secured.connect(**as_pair(robot)) as client:
        memory = client.create_memory("pets", dimension=4)
        assert [each.principal for each in memory.audit_events()] == ["robot"]
    with (
        secured.connect(**as_pair(nobody)) as client,
        pytest.raises(visual_memory.Unauthenticated, match="with a key only"),
    ):
        client.server_info()
    for wrong in ({}, as_pair(stranger)):
        with secured.connect(**wrong) as client, pytest.raises(visual_memory.Unavailable):
            client.server_info()


def peer_certificate(address: str, authority: Authority) -> bytes:
    """Return the certificate that a server shows, in DER."""
    host, port = address.rsplit(":", 1)
    context = ssl.create_default_context(cafile=str(authority.path))
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((host, int(port)), HANDSHAKE) as raw,
        context.wrap_socket(raw, server_hostname=host) as secure,
    ):
        return secure.getpeercert(binary_form=True) or b""


def test_a_new_certificate_is_shown_without_a_failed_call(secured: Secured, tmp_path: Path) -> None:
    address, before = secured.server.address, []
    over = threading.Event()
    failed: list[Exception] = []

    def ask() -> None:
        while not over.is_set():
            try:
                with secured.connect() as client:
                    client.server_info()
            except visual_memory.Error as error:
                failed.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            before.append(peer_certificate(address, secured.authority))
            pair = secured.authority.issue("next")
            for new, old in zip(pair, ("server-cert.pem", "server-key.pem"), strict=True):
                shutil.move(new, tmp_path / old)
        before.append(peer_certificate(address, secured.authority))
    finally:
        over.set()
        for thread in threads:
            thread.join()

    assert len(set(before)) == 4
    assert not failed


def test_files_that_do_not_fit_leave_the_former_certificate(
    secured: Secured, tmp_path: Path
) -> None:
    shown = peer_certificate(secured.server.address, secured.authority)
    whole = (tmp_path / "server-key.pem").read_bytes()
    shutil.copy(secured.authority.issue("another").key, tmp_path / "server-key.pem")

    assert peer_certificate(secured.server.address, secured.authority) == shown
    (tmp_path / "server-key.pem").write_bytes(whole)
    assert peer_certificate(secured.server.address, secured.authority) == shown
    secured.server.end()
    assert "is not the private key of" in secured.server.last_log


@pytest.mark.parametrize(
    ("version", "spoken"),
    [
        (ssl.TLSVersion.TLSv1_1, False),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_3, True),
    ],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_only_versions_and_ciphers_of_today_are_spoken(
    version: ssl.TLSVersion, spoken: bool, secured: Secured
) -> None:
    host, port = secured.server.address.rsplit(":", 1)
    context = ssl.create_default_context(cafile=str(secured.authority.path))
    context.set_alpn_protocols(["h2"])
    context.minimum_version = context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")
    with socket.create_connection((host, int(port)), HANDSHAKE) as raw:
        if not spoken:
            with pytest.raises(OSError):  # noqa: PT011  # ssl.SSLError, or a reset
                context.wrap_socket(raw, server_hostname=host)
            return
        with context.wrap_socket(raw, server_hostname=host) as secure:
            chosen = secure.cipher()
            assert secure.selected_alpn_protocol() == "h2"
    assert chosen is not None
    assert "GCM" in chosen[0] or "CHACHA20" in chosen[0], chosen


@pytest.mark.parametrize("weak", ["AES128-SHA", "AES256-SHA", "ECDHE-ECDSA-AES128-SHA"])
def test_ciphers_without_authentication_of_data_are_not_spoken(weak: str, secured: Secured) -> None:
    host, port = secured.server.address.rsplit(":", 1)
    context = ssl.create_default_context(cafile=str(secured.authority.path))
    context.set_alpn_protocols(["h2"])
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{weak}:@SECLEVEL=0")
    with socket.create_connection((host, int(port)), HANDSHAKE) as raw, pytest.raises(OSError):  # noqa: PT011
        context.wrap_socket(raw, server_hostname=host)


def test_a_new_certificate_that_has_ended_leaves_the_former_one(
    secured: Secured, tmp_path: Path
) -> None:
    shown = peer_certificate(secured.server.address, secured.authority)
    pair = secured.authority.issue("late", days=-1)
    for new, old in zip(pair, ("server-cert.pem", "server-key.pem"), strict=True):
        shutil.move(new, tmp_path / old)

    assert peer_certificate(secured.server.address, secured.authority) == shown
    pair = secured.authority.issue("next")
    for new, old in zip(pair, ("server-cert.pem", "server-key.pem"), strict=True):
        shutil.move(new, tmp_path / old)
    assert peer_certificate(secured.server.address, secured.authority) != shown
    secured.server.end()
    assert "server-cert.pem has ended, at 2" in secured.server.last_log


def test_a_new_certificate_is_taken_where_both_have_ended(
    tmp_path: Path, authority: Authority
) -> None:
    pair = authority.issue("late", days=-2)
    certificates = Certificates(*pair, None)
    before = certificates.gauges()
    for new, old in zip(authority.issue("next", days=-1), pair, strict=True):
        shutil.move(new, old)

    assert certificates.gauges() != before


def test_a_private_key_that_others_can_read_is_told() -> None:
    with tempfile.TemporaryDirectory() as name, structlog.testing.capture_logs() as lines:
        Path(name).chmod(0o755)
        pair = Authority(Path(name), "ours").issue("server")
        for mode in (0o640, 0o644):
            pair.key.chmod(mode)
            Certificates(*pair, None)

    assert [line["event"] for line in lines] == ["others can read a secret"]
    assert lines[0]["way_out"] == f"chmod 600 {pair.key}"


def test_files_that_cannot_be_used_are_named_at_the_start(
    tmp_path: Path, authority: Authority
) -> None:
    ours, other = authority.issue("ours-1"), authority.issue("ours-2")
    text = tmp_path / "text.pem"
    text.write_text("no certificate")

    for certificate, key, client_ca, problem in (
        (tmp_path / "none.pem", ours.key, None, r"none\.pem cannot be read: No such file"),
        (text, ours.key, None, r"text\.pem holds no certificate in PEM"),
        (ours.certificate, text, None, r"text\.pem holds no private key without a password"),
        (ours.certificate, other.key, None, "is not the private key of"),
        (ours.certificate, ours.key, text, r"text\.pem holds no certificate"),
        (tmp_path, ours.key, None, "cannot be read: Is a directory"),
    ):
        with pytest.raises(BadSetting, match=problem):
            Certificates(certificate, key, client_ca)
    with structlog.testing.capture_logs() as lines:
        Certificates(ours.certificate, ours.key, authority.path)
    assert not lines


def test_files_that_become_unusable_do_not_keep_a_server_from_listening_anew(
    tmp_path: Path, authority: Authority
) -> None:
    pair = authority.issue("server")
    whole = pair.key.read_bytes()
    certificates = Certificates(*pair, None)
    pair.key.write_text("half a ke")

    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            certificates.credentials()
    pair.key.write_bytes(whole)
    with structlog.testing.capture_logs() as later:
        certificates.credentials()

    assert [line["event"] for line in lines] == ["certificates not read"]
    assert [line["event"] for line in later] == ["certificates read"]


def test_a_file_that_may_be_read_later_is_read_then(tmp_path: Path, authority: Authority) -> None:
    pair = authority.issue("server")
    certificates = Certificates(*pair, None)
    moved = pair.key.rename(tmp_path / "moved.pem")

    with structlog.testing.capture_logs() as lines:
        certificates.credentials()
    moved.rename(pair.key)
    with structlog.testing.capture_logs() as later:
        certificates.credentials()

    assert [line["event"] for line in lines] == ["certificates not read"]
    assert [line["event"] for line in later] == ["certificates read"]


def test_a_file_of_authorities_may_have_words_between(authority: Authority, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes("# Autorité\n".encode() + authority.path.read_bytes())
    pair = authority.issue("server")

    assert Certificates(pair.certificate, pair.key, bundle).context().get_ca_certs()
