"""Settings: flags override a file, the file overrides defaults, and bad settings are refused."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import visual_memory
from visual_memory_service.cli import build_parser
from visual_memory_service.completion import commands_of, flagged
from visual_memory_service.config import BadSetting, Settings, early_erasure, to_settings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "settings.toml"


def test_without_a_file_the_defaults_are_those_of_the_contract(tmp_path: Path) -> None:
    settings = to_settings({"data": str(tmp_path)}, None)

    assert settings == Settings(tmp_path)
    assert settings.erasure == "files+memory"
    assert settings.message_bytes_max == 64 * 2**20
    assert (settings.image_bytes_max, settings.image_pixels_max) == (32 * 2**20, 64_000_000)


def test_a_flag_goes_over_the_file(file: Path) -> None:
    file.write_text('data = "a"\nthreads = 3\nallow_embedder = ["timm:*"]\ndrain_seconds = 5\n')

    settings = to_settings({"data": "b"}, file)

    assert settings == Settings(Path("b"), threads=3, allow_embedder=("timm:*",), drain_seconds=5)


def test_the_help_of_each_flag_has_the_default_of_its_setting() -> None:
    defaults: dict[str, Any] = {field.name: field.default for field in fields(Settings)}
    said: dict[str, str] = {}
    for flag in flagged(commands_of(build_parser())["serve"]):
        assert " object" not in str(flag.help), flag.help
        _, named, default = str(flag.help).rpartition("default: ")
        if named and flag.dest != "threads":
            said[flag.dest] = default.partition(";")[0]

    assert "slow_seconds" in said
    for name, text in said.items():
        default = defaults[name]
        shown = " ".join(default) if isinstance(default, tuple) else str(default or "nowhere")
        assert text == shown


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("data = ", "is not TOML"),
        (f"data = {'[' * 100_000}", "is not TOML: maximum recursion depth"),
        ("\udcff", "is not TOML"),
        ("colour = 1", '"colour"; known are allow_anyone, allow_embedder, calls_max'),
        ("thread = 1", '"thread" (did you mean threads?); known are allow'),
        ("data = 1", "data has the wrong type: it must be a text in quotes."),
        ('threads = "2"', "threads has the wrong type"),
        ("threads = true", "threads has the wrong type: it must be a whole number."),
        ("threads = 0", "threads must be at least 1"),
        ("items_max = -1", "items_max must be at least 1"),
        ("message_bytes_max = 5", "message_bytes_max must be"),
        ("message_bytes_max = 2000000000", "message_bytes_max must be"),
        ("image_pixels_max = 90000000", "image_pixels_max must be"),
        ("drain_seconds = -1", "drain_seconds must"),
        ("drain_seconds = nan", "drain_seconds must"),
        ("drain_seconds = inf", "drain_seconds must"),
        ("allow_embedder = 5", "allow_embedder has the wrong type"),
        ("allow_embedder = 'x'", "allow_embedder has the wrong type"),
        ("allow_embedder = [1]", 'it must be a list of texts, such as ["a", "b"].'),
        ("idle_seconds = true", "idle_seconds has the wrong type: it must be a number."),
        ("erasure = 1", "erasure has the wrong type"),
        ('erasure = "ram"', 'erasure must be "files" or "files+memory", but is "ram"'),
        ("originals = true", "originals has the wrong type"),
        ('originals = "tape"', 'originals must be "ram" or "disk", but is "tape"'),
        ("device = 0", "device has the wrong type"),
        ('device = "gpu"', 'device must be "auto", "cpu" or "cuda", but is "gpu"'),
        ('device = "cuda"\noriginals = "disk"', 'device = "cuda" needs originals = "ram"'),
        ('reranker = ["none=host:1"]', 'NAME is not "none"'),
        ('reranker = ["a=host:0"]', 'PORT 1 to 65535, but is "a=host:0"'),
        ('reranker = ["a=host:99999"]', 'PORT 1 to 65535, but is "a=host:99999"'),
        ('http_listen = "[::1]:1"\nmetrics_listen = "[::1]:1"', "must be different addresses"),
        ('listen = "a:1"\nmetrics_listen = "a:1"', "listen and metrics_listen must be different"),
        ('reranker = ["a=x:1", "b=x:1", "a=y:1"]', 'names "a" twice'),
    ],
)
def test_what_cannot_be_set_is_named(file: Path, text: str, says: str) -> None:
    file.write_bytes(text.encode(errors="surrogateescape"))

    with pytest.raises(BadSetting) as caught:
        to_settings({"data": "here"}, file)

    assert says in str(caught.value)


def test_the_environment_is_between_flags_and_file(file: Path) -> None:
    file.write_text('data = "a"\nthreads = 3\nitems_max = 7\nallow_anyone = true\n')
    environment = {
        "VISUAL_MEMORY_SERVE_CONFIG": str(file),
        "VISUAL_MEMORY_SERVE_DATA": "b",
        "VISUAL_MEMORY_SERVE_THREADS": "4",
        "VISUAL_MEMORY_SERVE_KEY_LIMITS": "calls=1, streams=2",
        "VISUAL_MEMORY_SERVE_ALLOW_ANYONE": "False",
        "VISUAL_MEMORY_SERVE_IDLE_SECONDS": "2.5",
        "VISUAL_MEMORY_SERVE_HTTP_LISTEN": "",
        "VISUAL_MEMORY_SERVER": "elsewhere:1",
    }

    settings = to_settings({"threads": 5}, None, environment)

    assert settings == Settings(
        Path("b"), threads=5, items_max=7, idle_seconds=2.5, key_limits=("calls=1", "streams=2")
    )


@pytest.mark.parametrize(
    ("variable", "text", "says"),
    [
        ("COLOUR", "red", "VISUAL_MEMORY_SERVE_COLOUR names no setting; known are VISUAL"),
        ("THREAD", "2", "SERVE_THREAD names no setting (did you mean VISUAL_MEMORY_SERVE_THREADS"),
        ("THREADS", "two", 'VISUAL_MEMORY_SERVE_THREADS must be a whole number, but is "two".'),
        ("THREADS", "0", "threads must be at least 1"),
        ("ALLOW_ANYONE", "yes", 'must be true or false, but is "yes".'),
        ("IDLE_SECONDS", "long", "must be a number"),
        ("IDLE_SECONDS", "nan", "idle_seconds must be"),
        ("LOG_FORMAT", "xml", 'log_format must be "json" or "text", but is "xml"'),
        ("CONFIG", "nowhere.toml", "nowhere.toml cannot be read"),
    ],
)
def test_what_the_environment_cannot_set_is_named(variable: str, text: str, says: str) -> None:
    with pytest.raises(BadSetting) as caught:
        to_settings({"data": "here"}, None, {f"VISUAL_MEMORY_SERVE_{variable}": text})

    assert says in str(caught.value)


def test_a_server_is_set_up_by_the_environment_alone(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "VISUAL_MEMORY_SERVE_DATA": str(tmp_path / "data"),
        "VISUAL_MEMORY_SERVE_LISTEN": "127.0.0.1:0",
        "VISUAL_MEMORY_SERVE_ERASURE": "files",
        "VISUAL_MEMORY_SERVE_LOG_FORMAT": "text",
    }
    server = subprocess.Popen(
        [sys.executable, "-m", "visual_memory_service", "serve"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    address = server.stdout.readline().removeprefix("listening on ").strip()
    with visual_memory.connect(address) as client:
        assert client.server_info().erasure == "files"
    server.terminate()
    _, log = server.communicate(timeout=60)

    assert server.returncode == 0
    assert re.search(r"^\S+Z? \[info +\] serving +address=", log, re.MULTILINE), log


@pytest.mark.parametrize("mistyped", ["SERVER_LISTEN", "SERVES_DATA", "TLS_CERT"])
def test_a_mistyped_variable_is_no_reason_for_a_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mistyped: str
) -> None:
    monkeypatch.setenv(f"VISUAL_MEMORY_{mistyped}", "x")
    serve = [sys.executable, "-m", "visual_memory_service", "serve", "--data", str(tmp_path / "d")]

    done = subprocess.run(serve, capture_output=True, text=True, timeout=30)

    assert (done.returncode, done.stdout) == (1, "")
    assert f"VISUAL_MEMORY_{mistyped} is no variable that is read; did you mean" in done.stderr
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(("text", "shown"), [("", "''"), ("a\\u0000", r"'a\\x00'")])
def test_what_names_no_folder_is_refused(file: Path, text: str, shown: str) -> None:
    file.write_text(f'data = "{text}"')

    with pytest.raises(BadSetting, match=f"^data must name a folder, but is {shown}"):
        to_settings({}, file)


@pytest.mark.parametrize(
    ("arguments", "erasure"),
    [
        ([], "files+memory"),
        (["--data", "x", "--erasure", "files"], "files"),
        (["--erasure=files", "--threads", "2"], "files"),
        (["--config", "{file}"], "files"),
        (["--config={file}", "--erasure", "files+memory"], "files+memory"),
        (["--config", "nowhere.toml"], "files+memory"),
        (["--erasure"], "files+memory"),
        (["--erasure", "ram"], "files+memory"),
    ],
)
def test_the_erasure_is_known_before_the_command_line_is_loaded(
    file: Path, arguments: list[str], erasure: str
) -> None:
    file.write_text('erasure = "files"\n')

    assert early_erasure([each.format(file=file) for each in arguments]) == erasure


def test_the_environment_says_the_erasure_where_no_flag_does(file: Path) -> None:
    file.write_text('erasure = "files+memory"\n')
    said = {
        "VISUAL_MEMORY_SERVE_ERASURE": "files",
        "VISUAL_MEMORY_SERVE_CONFIG": str(file),
    }

    assert early_erasure([], said) == "files"
    assert early_erasure(["--erasure", "files+memory"], said) == "files+memory"
    file.write_text('erasure = "files"\n')
    assert early_erasure([], {"VISUAL_MEMORY_SERVE_CONFIG": str(file)}) == "files"


def test_a_pipe_is_left_to_be_read_by_the_command(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    assert early_erasure(["--config", str(tmp_path / "pipe")]) == "files+memory"


def test_a_file_that_is_not_there_is_named(file: Path) -> None:
    with pytest.raises(BadSetting, match=r"settings\.toml cannot be read: No such file"):
        to_settings({"data": "here"}, file)


def test_any_free_port_may_be_taken_by_each() -> None:
    zero = "127.0.0.1:0"

    settings = Settings(Path("a"), listen=zero, http_listen=zero, metrics_listen=zero)

    assert list(settings.addresses.values()) == [zero] * 3


def test_without_a_folder_there_is_nothing_to_serve() -> None:
    with pytest.raises(BadSetting, match="--data DIR"):
        to_settings({}, None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("colour = 1", '"colour"'),
        ("image_pixels_max = 90000000", "image_pixels_max"),
        ("message_bytes_max = 2000000000", "message_bytes_max"),
        ('listen = "nowhere"', "HOST:PORT"),
        ('listen = "127.0.0.1:70000"', "PORT at most 65535"),
        ('listen = "256.0.0.1:50051"', "cannot be listened on: "),
        (
            'listen = "192.0.2.1:50051"',
            "on: this machine has no such address; choose another with --listen.",
        ),
    ],
)
def test_a_server_that_cannot_be_set_up_says_so_in_one_line(
    file: Path, tmp_path: Path, text: str, says: str
) -> None:
    file.write_text(text)
    serve = [sys.executable, "-m", "visual_memory_service", "serve", "--data", str(tmp_path / "d")]

    done = subprocess.run(
        [*serve, "--config", str(file)], capture_output=True, text=True, timeout=30
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "d").exists()
