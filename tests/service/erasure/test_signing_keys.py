"""Signing keys are made once, for their owner alone, and their public parts are kept."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("name", ["signing.pem", "former.txt"])
def test_a_key_that_would_never_end_is_refused(name: str, tmp_path: Path) -> None:
    SigningKeys(tmp_path).rotate()
    path = tmp_path / "keys" / name
    path.unlink()
    os.mkfifo(path)

    with pytest.raises(BadKey, match=rf"{name} cannot be read \(Not a regular file\); let the"):
        SigningKeys(tmp_path)
