"""A server that cannot be reached as asked is refused before a connection is tried."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from visual_memory import DeadlineExceeded, InvalidArgument
from visual_memory._calls.memories import delete_memory
from visual_memory._transport.connection import endpoint, secured

CERTIFICATE, KEY = b"-----BEGIN CERTIFICATE-----\n", b"-----BEGIN EC PRIVATE KEY-----\n"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that others may look into, which ``tmp_path`` is not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_an_empty_key_is_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"^api_key is empty; have a key made"):
        endpoint("host:1", "", None, 1.0)


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan"), float("inf")])
def test_a_timeout_that_is_none_is_refused(timeout: float) -> None:
    with pytest.raises(InvalidArgument, match="timeout must be positive seconds"):
        endpoint("host:1", None, None, timeout)


@pytest.mark.parametrize("field", ["root_certificates", "client_certificate", "client_key"])
def test_missing_files_of_certificates_are_named(field: str) -> None:
    given = {"roots": CERTIFICATE, "certificate": CERTIFICATE, "private_key": KEY}
    wrong = {"root_certificates": "roots", "client_certificate": "certificate"}
    files: dict[str, Any] = given | {wrong.get(field, "private_key"): "ca.pem"}

    with pytest.raises(InvalidArgument, match=rf"{field}: no such file: ca\.pem"):
        secured(False, **files)


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        ("root_certificates", "certificate"),
        ("client_certificate", "certificate"),
        ("client_key", "private key without a password"),
    ],
)
@pytest.mark.parametrize("data", [b"", b"notes", b"-----BEGIN ENCRYPTED PRIVATE KEY-----"])
def test_a_file_without_pem_is_named_of_the_three(field: str, kind: str, data: bytes) -> None:
    given = {"roots": CERTIFICATE, "certificate": CERTIFICATE, "private_key": KEY}
    wrong = {"root_certificates": "roots", "client_certificate": "certificate"}

    with pytest.raises(InvalidArgument, match=f"^{field} holds no {kind} in PEM"):
        secured(False, **given | {wrong.get(field, "private_key"): data})


def test_a_private_key_that_others_can_read_is_told(
    open_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = open_folder / "client.key"
    key.write_bytes(KEY)
    for mode in (0o600, 0o640, 0o644):
        key.chmod(mode)
        secured(False, CERTIFICATE, certificate=CERTIFICATE, private_key=key)

    assert caplog.messages == [f"Others can read {key}, which is secret: chmod 600 {key}"]


def test_a_certificate_and_its_key_belong_together() -> None:
    with pytest.raises(InvalidArgument, match="client_key must be given, too"):
        secured(True, None, certificate=b"PEM", private_key=None)
    with pytest.raises(InvalidArgument, match="client_certificate must be given, too"):
        secured(True, None, certificate=None, private_key=b"PEM")


def test_without_tls_there_are_no_credentials() -> None:
    assert secured(False, None, certificate=None, private_key=None) is None
    assert secured(True, None, certificate=None, private_key=None) is not None


@pytest.mark.parametrize(
    ("target", "direct"),
    [
        ("localhost:1", True),
        ("127.0.0.1:1", True),
        ("dns:///localhost:1", True),
        ("ipv6:[::1]:1", True),
        ("unix:/run/server", True),
        ("example.org:1", False),
    ],
)
def test_no_proxy_stands_before_a_server_on_this_machine(target: str, direct: bool) -> None:
    options = endpoint(target, None, None, 1.0).options

    assert (("grpc.enable_http_proxy", 0) in options) is direct


def test_a_key_goes_with_every_call() -> None:
    assert endpoint("host:1", "secret", None, 1.0).metadata == (("authorization", "Bearer secret"),)


def test_a_write_that_is_given_up_names_its_request() -> None:
    budget = endpoint("host:1", None, None, 1.0).budget(delete_memory("pets", "r1"))

    with pytest.raises(DeadlineExceeded, match="request_id='r1'"):
        budget.raise_timeout()


@pytest.mark.parametrize("key", ["ü", "a\nb", "a b", "a\0", "a" * 5000, "vm_1_2\n"])
def test_a_key_that_no_call_could_carry_is_refused_unquoted(key: str) -> None:
    with pytest.raises(
        InvalidArgument, match=r"^api_key must be what .*: up to 4,096 characters of ASCII"
    ):
        endpoint("host:1", key, None, 1.0)


def test_the_path_of_a_key_is_not_taken_for_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ann.key").write_text("vm_1_2\n")
    monkeypatch.chdir(tmp_path)

    for path in ("ann.key", str(tmp_path / "ann.key")):
        with pytest.raises(
            InvalidArgument,
            match=r"^api_key must be a key, but is the path of a file, .*: give the text in",
        ):
            endpoint("host:1", path, None, 1.0)


@pytest.mark.parametrize(
    "target",
    [
        "",
        "host:1\n",
        "\x1b[31mhost:1",
        "http://127.0.0.1:50051",
        "localhost",
        "127.0.0.1:0",
        "127.0.0.1:99999",
        "host:x",
        ":50051",
        "::1:50051",
        "host :1",
        "host:1/path",
    ],
)
def test_a_target_that_is_no_address_is_refused(target: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^target must be HOST:PORT, but is '"):
        endpoint(target, None, None, 1.0)


@pytest.mark.parametrize(
    "target",
    ["host:1", "a_b.example.org:65535", "[::1]:50051", "[fe80::1%eth0]:1", "dns:///host:1"],
)
def test_a_target_that_may_be_an_address_is_left_to_the_connection(target: str) -> None:
    assert endpoint(target, None, None, 1.0).target == target
