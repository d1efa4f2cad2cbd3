"""A caller is known by its key alone; where keys cannot be read nobody is known."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog

from visual_memory_service.access.callers import ANYBODY, Caller, Callers
from visual_memory_service.access.key_file import BadKeyFile, KeyFile
from visual_memory_service.access.keys import Key, Secret, new_secret, revoke, rotate
from visual_memory_service.errors import (
    BadField,
    ExpiredKey,
    KeysUnreadable,
    NoKey,
    RevokedKey,
    WrongKey,
)

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)


def bearer(text: str) -> list[tuple[str, str | bytes]]:
    return [("authorization", f"Bearer {text}")]


def find(
    callers: Callers,
    metadata: Iterable[tuple[str, str | bytes]],
    certificate_names: Iterable[str] = (),
) -> Caller:
    return callers.find(lambda: metadata, certificate_names)


def add(file: KeyFile, name: str = "alice", **more: object) -> str:
    """Add a key and return its text."""
    text, secret = new_secret()
    values: dict[str, object] = {"created": NOW, "secrets": (secret,)}
    made = Key(name, ("read",), (), **(values | more))  # type: ignore[arg-type]
    file.change(lambda keys: [*keys, made])
    return text


def test_without_a_file_anybody_may_do_everything(tmp_path: Path) -> None:
    callers = Callers(KeyFile(tmp_path), {})

    assert not callers.needs_keys
    assert find(callers, ()) is ANYBODY
    assert find(callers, bearer("for a proxy")) is ANYBODY


@pytest.mark.parametrize(
    "metadata",
    [
        lambda text: [("authorization", f"Bearer {text}")],
        lambda text: [("authorization", f"bearer  {text} ")],
        lambda text: [("api-key", text)],
        lambda text: [("x", "y"), ("api-key", text), ("authorization", f"Bearer {text}")],
    ],
)
def test_a_key_is_found_in_the_metadata(metadata: object, tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    text, _ = add(file), add(file, "bob")

    assert find(Callers(file, {}), metadata(text)).key.name == "alice"  # type: ignore[operator]


def test_every_change_of_a_text_is_another_key(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    text = add(file)
    callers = Callers(file, {})

    for at in range(len(text)):
        other = "0" if text[at] != "0" else "1"
        with pytest.raises(WrongKey):
            find(callers, bearer(text[:at] + other + text[at + 1 :]))
    for wrong in ("", text[:-1], text + "0", text.upper(), "vm__", "é"):
        with pytest.raises(WrongKey):
            find(callers, bearer(wrong))
    with pytest.raises(WrongKey):
        find(callers, [("api-key", text.encode())])


def test_the_hash_of_a_secret_is_no_key(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    add(file)
    (key,) = file.read()
    (secret,) = key.secrets

    with pytest.raises(WrongKey):
        find(Callers(file, {}), bearer(f"vm_{secret.id}_{secret.sha256}"))
    with pytest.raises(WrongKey):
        find(Callers(file, {}), bearer(f"vm_{'0' * 12}_{'0' * 64}"))


def test_metadata_that_cannot_be_understood_are_named(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    text, other = add(file), add(file, "bob")
    callers = Callers(file, {})

    with pytest.raises(BadField, match="authorization in the metadata must be Bearer"):
        find(callers, [("authorization", f"Basic {text}")])
    with pytest.raises(BadField, match="api-key in the metadata is another key"):
        find(callers, [*bearer(text), ("api-key", other)])


def test_without_a_key_nobody_is_known(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    add(file)

    with pytest.raises(NoKey):
        find(Callers(file, {}), [("user-agent", "x")], ("alice",))


def test_a_certificate_stands_for_the_key_of_its_name(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    text = add(file)
    add(file, "robot", secrets=())
    callers = Callers(file, {})

    assert find(callers, (), ("other", "robot")).key.name == "robot"
    assert find(callers, bearer(text), ("robot",)).key.name == "alice"
    with pytest.raises(NoKey):
        find(callers, (), ("alice",))


def test_changes_count_at_once(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    callers = Callers(file, {})
    text = add(file)

    assert find(callers, bearer(text)).key.name == "alice"
    with pytest.raises(NoKey):
        find(callers, ())
    file.change(lambda keys: revoke(keys, "alice", NOW))
    with pytest.raises(RevokedKey, match="alice"):
        find(callers, bearer(text))


def test_a_rotated_secret_counts_until_its_time(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    first = add(file)
    second, secret = new_secret()
    callers = Callers(file, {})

    file.change(lambda keys: rotate(keys, "alice", secret, former_until=NOW + HOUR, now=NOW))
    assert find(callers, bearer(first)) == find(callers, bearer(second))
    third, secret = new_secret()
    file.change(lambda keys: rotate(keys, "alice", secret, former_until=NOW - HOUR, now=NOW))

    for former in (first, second):
        with pytest.raises(RevokedKey):
            find(callers, bearer(former))
    assert find(callers, bearer(third)).key.name == "alice"


def test_an_expired_key_is_told_to_who_has_it(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    text = add(file, expires=NOW - HOUR)
    add(file, "robot", secrets=(), expires=NOW - HOUR)
    callers = Callers(file, {})

    with pytest.raises(ExpiredKey, match="alice"):
        find(callers, bearer(text))
    with pytest.raises(ExpiredKey, match="robot"):
        find(callers, (), ("robot",))
    with pytest.raises(WrongKey):
        find(callers, bearer(text[:-1] + ("0" if text[-1] != "0" else "1")))


def test_once_there_were_keys_nobody_is_known_without_them(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    text = add(file)
    whole = file.path.read_bytes()
    callers = Callers(file, {})

    with structlog.testing.capture_logs() as lines:
        for damage in (b"{", None):
            if damage is None:
                file.path.unlink()
            else:
                file.path.write_bytes(damage)
            for _ in range(3):
                with pytest.raises(KeysUnreadable):
                    find(callers, bearer(text))
    file.path.write_bytes(whole)

    assert find(callers, bearer(text)).key.name == "alice"
    assert [line["event"] for line in lines] == ["keys not read", "keys not read"]
    file.path.write_bytes(b"{")
    with pytest.raises(BadKeyFile):
        Callers(file, {})


def test_keys_that_were_copied_are_missed_too_once_they_were_read(tmp_path: Path) -> None:
    file, copied = KeyFile(tmp_path / "first"), KeyFile(tmp_path / "second")
    add(file)
    copied.path.parent.mkdir(parents=True)
    copied.path.write_bytes(file.path.read_bytes())
    Callers(copied, {})
    copied.path.unlink()

    with pytest.raises(BadKeyFile, match="gone"):
        Callers(copied, {})


def test_a_file_without_keys_lets_nobody_in(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    file.change(lambda keys: [])

    with pytest.raises(NoKey):
        find(Callers(file, {}), ())


def test_the_texts_are_in_no_file_and_in_no_error(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    text = add(file)
    *_, hidden = text.split("_")

    assert hidden.encode() not in file.path.read_bytes()
    with pytest.raises(WrongKey) as caught:
        find(Callers(file, {}), bearer(text[:-1] + "x"))
    assert hidden[:-1] not in str(caught.value)
    assert Secret("", hidden).sha256 not in repr(
        find(Callers(file, {}), bearer(text)).key.secrets[0]
    )
