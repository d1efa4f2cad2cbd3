"""Keys are made before a server starts and while it runs; each text is shown once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.conftest import Server
from tests.service.conftest import Run, answer, refused, text

from visual_memory_service.access.keys import TEXT


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def nowhere(tmp_path: Path) -> Path:
    return tmp_path / "nowhere"


def test_a_key_is_made_before_the_first_start_and_answered(
    data: Path,
    command: Run,
    start: Callable[..., Server],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    made = text(command("keys", "create", "ann", "--scope", "admin", "--data", data))
    server = start(data)
    monkeypatch.setenv("VISUAL_MEMORY_SERVER", server.address)

    assert TEXT.fullmatch(made.removesuffix("\n"))
    sentence = refused(command("list"))
    assert "with a key only" in sentence
    assert "--api-key-file FILE" in sentence
    assert "VISUAL_MEMORY_API_KEY_FILE" in sentence
    monkeypatch.setenv("VISUAL_MEMORY_API_KEY", made.strip())
    assert text(command("create", "pets", "--dimension", "4"))
    (tmp_path / "ann.key").write_text(made)
    monkeypatch.delenv("VISUAL_MEMORY_API_KEY")
    assert answer(command("audit", "pets", "--api-key-file", "ann.key", "--json"))
    monkeypatch.setenv("VISUAL_MEMORY_API_KEY_FILE", str(tmp_path / "ann.key"))
    (event,) = answer(command("audit", "pets", "--json"))
    assert event["principal"] == "ann"


@pytest.mark.parametrize(
    "action", [["list"], ["revoke", "ann"], ["rotate", "ann"], ["limit", "ann"]]
)
def test_no_folder_is_made_where_keys_should_be(
    action: list[str], nowhere: Path, command: Run
) -> None:
    assert "is not there: --data names" in refused(command("keys", *action, "--data", nowhere))
    assert not nowhere.exists()


@pytest.mark.parametrize("inside", [None, "photo.jpg"])
@pytest.mark.parametrize(
    "action", [["list"], ["revoke", "ann"], ["rotate", "ann"], ["limit", "ann"]]
)
def test_keys_are_not_looked_for_in_a_folder_of_something_else(
    action: list[str], inside: str | None, tmp_path: Path, command: Run
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    if inside is not None:
        (folder / inside).touch()

    sentence = refused(command("keys", *action, "--data", folder))

    assert sentence.startswith(f"{folder} is no data folder of a server: ")
    assert os.listdir(folder) == [inside] * (inside is not None)


def test_a_server_without_keys_has_a_list_of_none(
    data: Path, command: Run, start: Callable[..., Server]
) -> None:
    start(data, "--erasure", "files")

    assert answer(command("keys", "list", "--data", data, "--json")) == []


def test_a_folder_that_is_made_for_keys_is_told(nowhere: Path, command: Run) -> None:
    made = command("keys", "create", "ann", "--scope", "read", "--data", nowhere)
    more = command("keys", "create", "bob", "--scope", "read", "--data", nowhere)

    assert made.stdout.startswith("vm_")
    assert made.stderr == f"{nowhere} was not there: the folder is new.\n"
    assert more.stderr == ""


def test_the_list_says_until_when_a_former_text_counts(data: Path, command: Run) -> None:
    text(command("keys", "create", "ann", "--scope", "read", "--data", data))
    (before,) = answer(command("keys", "list", "--data", data, "--json"))
    text(command("keys", "rotate", "ann", "--former-hours", "24", "--data", data))

    listed = text(command("keys", "list", "--data", data))
    (rotated,) = answer(command("keys", "list", "--data", data, "--json"))
    text(command("keys", "revoke", "ann", "--data", data))
    (revoked,) = answer(command("keys", "list", "--data", data, "--json"))

    assert (before["former_until"], revoked["former_until"]) == (None, None)
    until = datetime.fromisoformat(rotated["former_until"])
    assert timedelta(hours=23) < until - datetime.now(UTC) <= timedelta(hours=24)
    assert f"valid, the former too until {until:%Y-%m-%d %H:%M}" in listed


def test_an_open_server_asks_for_keys_once_there_are_some(
    data: Path, command: Run, start: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start(data)
    monkeypatch.setenv("VISUAL_MEMORY_SERVER", server.address)
    assert text(command("create", "pets", "--dimension", "4"))

    made = text(command("keys", "create", "ann", "--scope", "read", "--data", data)).strip()

    refused(command("list"))
    monkeypatch.setenv("VISUAL_MEMORY_API_KEY", made)
    assert "pets" in text(command("list"))
    assert "needs admin" in refused(command("delete-memory", "pets", "--apply"))
    again = text(command("keys", "rotate", "ann", "--data", data)).strip()
    assert "revoked or rotated" in refused(command("list"))
    monkeypatch.setenv("VISUAL_MEMORY_API_KEY", again)
    assert "pets" in text(command("list"))
    assert text(command("keys", "revoke", "ann", "--data", data)) == (
        "ann is revoked; its calls are refused from now on.\n"
    )
    assert "revoked" in refused(command("list"))
    Path("empty.key").touch()
    assert refused(command("list", "--api-key-file", "empty.key")).startswith(
        "--api-key-file is empty; "
    )
    monkeypatch.setenv("VISUAL_MEMORY_API_KEY", "vm_no")
    assert "none of this server's" in refused(command("list"))


def test_a_server_does_not_start_without_the_keys_that_it_had(
    data: Path, command: Run, start: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    text(command("keys", "create", "ann", "--scope", "admin", "--data", data))
    (data / "keys" / "api-keys.json").unlink()

    sentences = {
        refused(command("serve", "--data", data, "--listen", "127.0.0.1:0", "--erasure", "files")),
        refused(command("keys", "list", "--data", data)),
        refused(command("keys", "revoke", "ann", "--data", data)),
    }
    made = text(command("keys", "create", "bob", "--scope", "read", "--data", data))

    (sentence,) = sentences
    assert "api-keys.json is gone" in sentence
    server = start(data)
    monkeypatch.setenv("VISUAL_MEMORY_SERVER", server.address)
    assert "with a key only" in refused(command("list"))
    monkeypatch.setenv("VISUAL_MEMORY_API_KEY", made.strip())
    assert answer(command("list", "--json")) == []


def test_the_list_has_no_secret(data: Path, command: Run) -> None:
    secrets = [
        text(command("keys", "create", "ann", "--scope", "admin", "--data", data)),
        text(
            command(
                "keys",
                "create",
                "bob",
                "--scope",
                "erase",
                "--scope",
                "read",
                "--memory",
                "pets-*",
                "--memory",
                "shop",
                "--expires",
                "2099-01-31T12:00+01:00",
                "--data",
                data,
            )
        ),
    ]
    text(command("keys", "create", "robot", "--scope", "read", "--by-certificate", "--data", data))
    text(command("keys", "revoke", "ann", "--data", data))

    listed = command("keys", "list", "--data", data).stdout
    ann, bob, robot = answer(command("keys", "list", "--data", data, "--json"))

    assert (ann["state"], ann["by_certificate"]) == ("revoked", False)
    assert bob["scopes"] == ["read", "erase"]
    assert bob["memories"] == ["pets-*", "shop"]
    assert (robot["state"], robot["by_certificate"]) == ("valid", True)
    assert "2099-01-31 11:00" in listed
    for secret in secrets:
        *_, hidden = secret.strip().split("_")
        assert hidden not in listed + json.dumps([ann, bob, robot])


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["create", "Ann", "--scope", "read"], 1, "NAME must be"),
        (["create", "ann"], 2, "required: --scope"),
        (["create", "bob", "--scope", "all"], 2, "invalid choice"),
        (["create", "bob", "--scope", "read", "--expires", "soon"], 2, "must be a date or a time"),
        (["create", "bob", "--scope", "read", "--expires", "2020-01-01"], 1, "in the future"),
        (["create", "bob", "--scope", "read", "--memory", "a b"], 1, "--memory must be"),
        (["create", "eve", "--scope", "read"], 1, 'The name "eve" is that of a key already'),
        *(
            ([action, "nobody"], 1, 'No key has the name "nobody"; known are: eve. The data folder')
            for action in ("revoke", "rotate", "limit")
        ),
        (["rotate", "eve", "--former-hours", "-1"], 2, "must be from 0"),
        ([], 2, "required: ACTION"),
    ],
)
def test_what_cannot_be_done_is_refused(
    arguments: list[str], code: int, sentence: str, data: Path, command: Run
) -> None:
    text(command("keys", "create", "eve", "--scope", "read", "--data", data))
    before = (data / "keys" / "api-keys.json").read_bytes()

    done = command("keys", *arguments, *(["--data", str(data)] if arguments else []))

    assert (done.returncode, done.stdout) == (code, "")
    assert sentence in done.stderr
    assert "The data folder" not in sentence or f"The data folder is {data}." in done.stderr
    assert (data / "keys" / "api-keys.json").read_bytes() == before


def test_no_key_is_made_in_a_folder_of_something_else(tmp_path: Path, command: Run) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()

    sentence = refused(command("keys", "create", "a", "--scope", "read", "--data", "photos"))

    assert "a.jpg" in sentence
    assert os.listdir(tmp_path / "photos") == ["a.jpg"]


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0"])
def test_a_server_that_all_reach_needs_keys_or_words(
    listen: str, nowhere: Path, command: Run
) -> None:
    sentence = refused(
        command("serve", "--data", nowhere, "--listen", listen, "--erasure", "files")
    )

    assert "there are no keys, so that anyone could read and delete everything" in sentence
    assert "--allow-anyone" in sentence
    assert not nowhere.exists()
