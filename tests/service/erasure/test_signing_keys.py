"""Signing keys are made once, for their owner alone, and their public parts are kept."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from visual_memory_service.erasure.signing_keys import BadKey, SigningKeys


def test_a_key_is_made_at_the_first_start_and_read_later(tmp_path: Path) -> None:
    first, again = SigningKeys(tmp_path), SigningKeys(tmp_path)

    assert first.public == again.public
    assert len(first.public) == 1
    assert len(bytes.fromhex(first.public[0])) == 32


def test_only_the_owner_reads_the_private_key(tmp_path: Path) -> None:
    SigningKeys(tmp_path).rotate()

    for path in (tmp_path / "keys").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


def test_former_keys_stay_published_the_latest_first(tmp_path: Path) -> None:
    keys = SigningKeys(tmp_path)
    first = keys.public[0]
    keys.rotate()
    second = keys.public[0]
    keys.rotate()

    assert keys.public[1:] == [second, first]
    assert SigningKeys(tmp_path).public == keys.public


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    SigningKeys(tmp_path)
    (tmp_path / "keys" / "signing.pem").write_text("no key")

    with pytest.raises(BadKey, match=r"signing\.pem holds no Ed25519 key without a password"):
        SigningKeys(tmp_path)


def put_link_to_nothing(path: Path) -> None:
    path.symlink_to(path.parents[1] / "not mounted" / path.name)


@pytest.mark.parametrize("name", ["signing.pem", "former.txt"])
@pytest.mark.parametrize(
    ("put", "problem"),
    [(os.mkfifo, "Not a regular file"), (put_link_to_nothing, "No such file or directory")],
)
def test_a_key_that_would_never_end_or_leads_nowhere_is_refused_and_stays(
    put: Callable[[Path], None], problem: str, name: str, tmp_path: Path
) -> None:
    SigningKeys(tmp_path).rotate()
    path = tmp_path / "keys" / name
    path.unlink()
    put(path)

    with pytest.raises(BadKey, match=rf"{name} cannot be read \({problem}\); let the server"):
        SigningKeys(tmp_path)

    assert path.is_fifo() or path.is_symlink()


@pytest.mark.parametrize("used", ["memories/birds.sqlite", "keys/former.txt"])
def test_a_key_that_is_missing_from_a_folder_that_was_used_is_logged(
    used: str, tmp_path: Path
) -> None:
    with capture_logs() as logged:
        first = SigningKeys(tmp_path)
    assert logged == []
    (tmp_path / used).parent.mkdir(exist_ok=True)
    (tmp_path / used).touch()
    with capture_logs() as logged:
        SigningKeys(tmp_path)
    assert logged == []
    (tmp_path / "keys" / "signing.pem").unlink()

    with capture_logs() as logged:
        again = SigningKeys(tmp_path)

    assert again.public != first.public
    assert logged == [
        {
            "event": "new signing key",
            "log_level": "warning",
            "path": str(tmp_path / "keys" / "signing.pem"),
            "reason": "The file was missing from a data folder that was used: certificates signed "
            "by its former key will no longer be verified by this server.",
        }
    ]


@pytest.mark.parametrize("bad", ["no key", "0" * 63, "g" * 64, "0" * 65, "é" * 64])
def test_a_former_key_that_is_none_is_refused_by_its_line(bad: str, tmp_path: Path) -> None:
    SigningKeys(tmp_path).rotate()
    with (tmp_path / "keys" / "former.txt").open("a") as file:
        file.write(f"{bad}\n")

    with pytest.raises(BadKey, match=r"former\.txt, line 2, is no public key of 64 hex digits"):
        SigningKeys(tmp_path)


def test_blanks_and_empty_lines_around_former_keys_do_not_matter(tmp_path: Path) -> None:
    keys = SigningKeys(tmp_path)
    keys.rotate()
    path = tmp_path / "keys" / "former.txt"
    path.write_text(f"\n  {path.read_text().strip()} \t\r\n\n")

    assert SigningKeys(tmp_path).public == keys.public
    with path.open("a") as file:
        file.write("no key\n")
    with pytest.raises(BadKey, match="line 4, is no public key"):
        SigningKeys(tmp_path)


def test_a_rotation_that_was_cut_short_lists_no_key_twice(tmp_path: Path) -> None:
    keys = SigningKeys(tmp_path)
    first = keys.public[0]
    keys.rotate()
    second = keys.public[0]
    with (tmp_path / "keys" / "former.txt").open("a") as file:
        file.write(f"{second}\n")  # as before the new private key is written

    again = SigningKeys(tmp_path)
    assert again.public == [second, first]
    again.rotate()

    assert again.public[1:] == [second, first]
    assert SigningKeys(tmp_path).public == again.public
    assert (tmp_path / "keys" / "former.txt").read_text() == f"{first}\n{second}\n"
