"""The file of keys is private, whole after every change, and refused by name if it is damaged."""

from __future__ import annotations

import json
import stat
import threading
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from visual_memory_service.access.key_file import BadKeyFile, KeyFile
from visual_memory_service.access.keys import Key, KeyRefused, Secret, create, revoke

NOW = datetime(2026, 12, 1, tzinfo=UTC)
ALICE = Key(
    "alice",
    ("read", "erase"),
    ("pets-*",),
    created=NOW,
    expires=NOW + timedelta(days=90),
    revoked=NOW + timedelta(days=1),
    secrets=(Secret("a" * 12, "b" * 64), Secret("c" * 12, "d" * 64, NOW)),
)


def test_keys_are_read_as_they_were_written(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "data")
    file.change(lambda keys: [*keys, ALICE])

    assert KeyFile(tmp_path / "data").read() == [ALICE]
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700


def test_without_a_file_there_are_no_keys(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)

    assert file.version() is None
    assert file.read() == []


def test_a_file_that_is_gone_is_missed(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    file.change(lambda keys: [*keys, ALICE])
    file.path.unlink()

    with pytest.raises(BadKeyFile, match=f"gone, without .* or remove {file.needed} and start"):
        KeyFile(tmp_path).read()
    with pytest.raises(BadKeyFile):
        file.change(lambda keys: keys)
    assert not file.path.exists()
    file.change(lambda keys: [*keys, ALICE], anew=True)
    assert file.read() == [ALICE]
    file.path.unlink()
    file.needed.unlink()
    assert file.read() == []


def test_every_change_gives_another_version(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    versions = [file.version()]
    for number in range(5):
        file.change(partial(create, key=Key(f"k{number}", (), (), NOW)))
        versions.append(file.version())

    assert len(set(versions)) == 6


def test_a_refused_change_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    file.change(lambda keys: create(keys, Key("ann", (), (), NOW)))
    before = file.path.read_bytes()

    with pytest.raises(KeyRefused):
        file.change(lambda keys: revoke(keys, "bob", NOW))

    assert file.path.read_bytes() == before


def test_changes_at_the_same_time_are_all_made(tmp_path: Path) -> None:
    def add(number: int) -> None:
        KeyFile(tmp_path).change(lambda keys: create(keys, Key(f"k{number}", (), (), NOW)))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {key.name for key in KeyFile(tmp_path).read()} == {f"k{n}" for n in range(16)}


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{}",
        b"[" * 100_000,
        b"\xff",
        b'{"format": 2, "keys": []}',
        b'{"format": 1, "keys": [{"name": "ann"}]}',
        b'{"format": 1, "keys": ["ann"]}',
        b"[1]",
    ],
)
def test_a_damaged_file_is_refused_by_its_path(damage: bytes, tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    file.change(lambda keys: keys)
    file.path.write_bytes(damage)

    with pytest.raises(BadKeyFile, match=r"api-keys\.json cannot be used"):
        file.read()
    with pytest.raises(BadKeyFile):
        file.change(lambda keys: keys)
    assert file.path.read_bytes() == damage


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("scopes", ["all"]),
        ("scopes", "read"),
        ("memories", "pets*"),
        ("memories", [5]),
        ("limits", []),
        ("limits", {"calls": -1}),
        ("name", "Ann"),
        ("secrets", [{"id": "a", "sha256": "b" * 64, "until": None}]),
        ("created", "2026-12-01T00:00:00"),
        ("expires", 5),
        ("secrets", [{"id": "a"}]),
        ("more", True),
    ],
)
def test_a_value_that_no_command_writes_is_refused(
    field: str, value: object, tmp_path: Path
) -> None:
    file = KeyFile(tmp_path)
    file.change(lambda keys: [ALICE])
    written = json.loads(file.path.read_bytes())
    written["keys"][0][field] = value
    file.path.write_text(json.dumps(written))

    with pytest.raises(BadKeyFile):
        file.read()


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    file.path.mkdir(parents=True)

    with pytest.raises(BadKeyFile, match="cannot be used"):
        file.read()


def test_no_more_keys_are_made_than_can_be_read(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    many = [Key(f"k{number}", ("read",), ("m" * 60,) * 20, NOW) for number in range(1000)]

    with pytest.raises(KeyRefused, match="too large"):
        file.change(lambda keys: many)

    assert file.read() == []
    file.change(lambda keys: many[:100])
    assert len(file.read()) == 100


def test_keys_of_another_user_are_not_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = KeyFile(tmp_path)
    file.change(lambda keys: [ALICE])
    monkeypatch.setattr("os.geteuid", lambda: 12_345)

    with pytest.raises(KeyRefused, match="belongs to another user"):
        file.change(lambda keys: [])

    assert file.read() == [ALICE]
