"""Keys are made, revoked and rotated; every change that cannot be made is refused by name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from visual_memory_service.access.keys import (
    Key,
    KeyRefused,
    create,
    new_secret,
    revoke,
    rotate,
    sha256,
)

NOW = datetime(2026, 12, 1, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def key(name: str = "alice", **more: object) -> Key:
    _, secret = new_secret()
    values: dict[str, object] = {
        "scopes": ("read",),
        "memories": (),
        "created": NOW,
        "secrets": (secret,),
    }
    return Key(name, **(values | more))  # type: ignore[arg-type]


def test_a_text_has_the_id_and_the_secret_whose_hash_is_kept() -> None:
    text, secret = new_secret()

    start, id, hidden = text.split("_")

    assert (start, id) == ("vm", secret.id)
    assert sha256(hidden) == secret.sha256
    assert len(hidden) == 64
    assert new_secret()[0] != text


def test_scopes_are_kept_in_one_order_without_repeats() -> None:
    (made,) = create([], key(scopes=("erase", "read", "erase")))

    assert made.scopes == ("read", "erase")


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (key("local"), "NAME must be"),
        (key("Ann"), "NAME must be"),
        (key(""), "NAME must be"),
        (key("a" * 64), "NAME must be"),
        (key("bob"), 'The name "bob" is that of a key already'),
        (key(memories=("pets", "a/b")), "--memory must be"),
        (key(memories=("",)), "--memory must be"),
        (key(expires=NOW), "--expires must be in the future"),
    ],
)
def test_a_key_that_cannot_be_made_is_refused(wrong: Key, named: str) -> None:
    with pytest.raises(KeyRefused, match=named):
        create([key("bob")], wrong)


def test_a_name_is_not_given_again_after_it_was_revoked() -> None:
    revoked = revoke([key("bob")], "bob", NOW)

    with pytest.raises(KeyRefused, match="perhaps a revoked one"):
        create(revoked, key("bob"))


def test_a_revoked_key_is_not_revoked_again() -> None:
    keys = revoke([key("ann"), key("bob")], "bob", NOW)

    assert [each.revoked for each in keys] == [None, NOW]
    with pytest.raises(KeyRefused, match="revoked already, at 2026-12-01"):
        revoke(keys, "bob", LATER)


def test_former_secrets_end_at_the_time_that_was_given_at_the_latest() -> None:
    first = key()
    _, second = new_secret()
    _, third = new_secret()

    (once,) = rotate([first], "alice", second, former_until=LATER, now=NOW)
    (twice,) = rotate([once], "alice", third, former_until=LATER + timedelta(hours=5), now=NOW)

    assert [each.until for each in once.secrets] == [None, LATER]
    assert [each.id for each in twice.secrets] == [third.id, second.id, first.secrets[0].id]
    assert [each.until for each in twice.secrets] == [None, LATER + timedelta(hours=5), LATER]


def test_a_revoked_key_counts_again_once_rotated_but_its_former_secret_does_not() -> None:
    _, second = new_secret()

    (again,) = rotate(revoke([key()], "alice", NOW), "alice", second, former_until=LATER, now=NOW)

    assert again.revoked is None
    assert again.secrets == (second,)


def test_a_key_by_certificate_has_nothing_to_rotate() -> None:
    _, secret = new_secret()

    with pytest.raises(KeyRefused, match="by certificate"):
        rotate([key(secrets=())], "alice", secret, former_until=NOW, now=NOW)


def test_an_unknown_name_is_told_with_the_known_ones() -> None:
    with pytest.raises(KeyRefused, match='the name "eve"; known are: ann, bob'):
        revoke([key("ann"), key("bob")], "eve", NOW)


@pytest.mark.parametrize(
    ("patterns", "memory", "is_for"),
    [
        ((), "pets", True),
        (("pets",), "pets", True),
        (("pets",), "pets-2", False),
        (("pets-*",), "pets-2", True),
        (("pets-?",), "pets-22", False),
        (("birds", "pets*"), "pets", True),
    ],
)
def test_a_key_is_for_memories_by_pattern(
    patterns: tuple[str, ...], memory: str, is_for: bool
) -> None:
    assert key(memories=patterns).is_for(memory) is is_for


def test_secrets_that_have_ended_are_dropped() -> None:
    keys, now = [key()], NOW
    for _ in range(100):
        now += timedelta(hours=2)
        _, secret = new_secret()
        keys = rotate(keys, "alice", secret, former_until=now + timedelta(hours=1), now=now)

    assert len(keys[0].secrets) == 2


def test_an_expired_key_is_not_rotated() -> None:
    _, secret = new_secret()

    with pytest.raises(KeyRefused, match="has expired"):
        rotate([key(expires=NOW)], "alice", secret, former_until=LATER, now=LATER)
