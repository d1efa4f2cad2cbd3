"""The demo as a whole: it shows what it claims, writes its page, and leaves nothing behind."""

from __future__ import annotations

import hashlib
import io
import os
import re
import signal
import socket
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from visual_memory import Decision, Neighbors
from visual_memory._terminal.refused import Refused
from visual_memory_service.commands.pictures import Picture
from visual_memory_service.demo import caltech
from visual_memory_service.demo import server as demo_server
from visual_memory_service.demo.story import Answers, Outcome, check, escaped

PYTHON = [sys.executable, "-W", "error"]
DEMO = ["-m", "visual_memory_service", "demo"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Temporary files and caches in a folder of the test, and no network."""
    (tmp_path / "scratch").mkdir()
    return {
        **os.environ,
        "TMPDIR": str(tmp_path / "scratch"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "https_proxy": "http://127.0.0.1:1",
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Noise around three colours, with names that HTML and filters must not mistake."""
    generator = np.random.default_rng(0)
    for channel, label in enumerate(("red", "<b>*", 'blue "sky"')):
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for number in range(6 + channel):
            pixels = generator.integers(0, 60, (24, 24, 3), np.uint8)
            pixels[..., channel] += 190
            path = tmp_path / "pictures" / label / f"{number}.png"
            Image.fromarray(pixels).save(path)
    return tmp_path / "pictures"


def run(tmp_path: Path, environment: dict[str, str], *flags: str) -> tuple[str, str]:
    command = [*PYTHON, *DEMO, "--output", str(tmp_path / "out"), *flags]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def assert_nothing_is_left(tmp_path: Path, said: str) -> None:
    address = re.search(r"on 127\.0\.0\.1:(\d+)", said)
    assert address
    with socket.socket() as caller:
        assert caller.connect_ex(("127.0.0.1", int(address[1]))) != 0
    assert list((tmp_path / "scratch").iterdir()) == []


def test_it_learns_and_forgets_a_class_of_ones_own_pictures(
    tmp_path: Path, environment: dict[str, str], folder: Path
) -> None:
    said, complaints = run(tmp_path, environment, "--images", str(folder))

    assert all(" pictures" in line for line in complaints.splitlines()), "progress alone"
    assert '“blue "sky"”, a class it does not know: 0 of 2 right' in said
    assert "without training: 2 of 2 right" in said
    assert "every decision is what it was before, to the last bit" in said
    assert_nothing_is_left(tmp_path, said)


def test_its_page_is_one_file_that_needs_no_other(
    tmp_path: Path, environment: dict[str, str], folder: Path
) -> None:
    run(tmp_path, environment, "--images", str(folder))

    page = (tmp_path / "out" / "demo.html").read_text(encoding="utf-8")

    sources = re.findall(r"(?:src|href)=['\"]?([^'\" >]*)", page)
    assert sources
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert "url(" not in page
    assert "<!--" not in page
    assert "<b>*<" not in page
    assert "&lt;b&gt;*" in page


def test_without_the_network_it_says_so_and_shows_digits(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    said, complaints = run(tmp_path, environment)

    first, *others = complaints.splitlines()
    assert first.startswith("Caltech-101 cannot be had from https://data.caltech.edu/")
    assert all(" pictures" in line for line in others), "progress, where the machine is slow"
    assert "handwritten digits: 10 classes" in said
    assert_nothing_is_left(tmp_path, said)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_when_it_is_ended_its_server_ends_too(
    tmp_path: Path, environment: dict[str, str], number: signal.Signals
) -> None:
    # Between ``open`` and ``with`` a signal leaves the file to Python, which closes it.
    with subprocess.Popen(
        [*PYTHON, "-W", "ignore:unclosed file:ResourceWarning", *DEMO],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        said = process.stdout.readline() + process.stdout.readline()
        process.send_signal(number)
        _, complaints = process.communicate(timeout=30)

    assert process.returncode == 128 + number
    assert "Traceback" not in complaints
    assert_nothing_is_left(tmp_path, said)


def test_a_server_that_does_not_get_ready_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_server, "READY_SECONDS", 0.5)
    (tmp_path / "log").write_text("")
    with (
        subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(60)"], stdout=subprocess.PIPE, text=True
        ) as silent,
        pytest.raises(Refused, match=r"The demo's server did not start\."),
    ):
        demo_server.address(silent, str(tmp_path / "log"))

    assert silent.returncode == -signal.SIGKILL


def test_a_server_that_cannot_start_says_why_in_its_own_words(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("no folder")

    with (
        pytest.raises(Refused, match="data cannot be the data folder: "),
        demo_server.running_server(tmp_path),
    ):
        pass


def outcome() -> Outcome:
    """A demo as it should end: "new" is known only while it is remembered."""
    pictures = [Picture(Path("a.png"), "new/a.png", "new")]

    def answers(label: str) -> Answers:
        neighbors = Neighbors([f"{label}/1"], [label], np.zeros(1), np.ones(1))
        return Answers(pictures, [Decision(label, 1.0, {label: 1.0}, neighbors)])

    return Outcome(answers("new"), answers("old"), answers("new"), answers("old"))


def test_a_demo_that_shows_what_it_claims_is_content() -> None:
    check(outcome(), "new")


@pytest.mark.parametrize(
    ("broken", "claim"),
    [
        (replace(outcome(), known=outcome().before), "classified no picture right"),
        (replace(outcome(), before=outcome().learnt), "knew “new” before"),
        (replace(outcome(), learnt=outcome().before), "did not learn “new”"),
        (replace(outcome(), forgotten=outcome().learnt), "still knows “new”"),
        (replace(outcome(), forgotten=outcome().learnt), "decides otherwise"),
    ],
)
def test_a_demo_that_does_not_show_what_it_claims_says_so(broken: Outcome, claim: str) -> None:
    with pytest.raises(Refused, match=claim):
        check(broken, "new")


def test_a_label_in_a_filter_is_itself_and_no_pattern() -> None:
    assert escaped('a"b*c\\d') == 'a\\"b\\*c\\\\d'


@pytest.fixture
def archive(tmp_path: Path) -> tuple[str, str]:
    """Something like Caltech-101: its address and its MD5."""
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as tar:
        for label in (*caltech.CLASSES, "wheelchair", "../outside"):
            for number in (1, 40, 41):
                member = tarfile.TarInfo(f"101_ObjectCategories/{label}/image_{number:04}.jpg")
                member.size = 3
                tar.addfile(member, io.BytesIO(b"jpg"))
    path = tmp_path / "archive.zip"
    with zipfile.ZipFile(path, "w") as outer:
        outer.writestr("caltech-101/101_ObjectCategories.tar.gz", inner.getvalue())
    return path.as_uri(), hashlib.md5(path.read_bytes()).hexdigest()


def test_ten_classes_of_caltech_are_fetched_once(
    tmp_path: Path, archive: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    folder = caltech.fetch(*archive)
    again = caltech.fetch("file:///nowhere", "")

    assert again == folder
    assert {path.relative_to(folder).as_posix() for path in folder.glob("*/*")} == {
        f"{label}/image_{number}.jpg" for label in caltech.CLASSES for number in ("0001", "0040")
    }
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize(
    ("address", "reason"),
    [("file:///nowhere", "No such file"), ("", "MD5 .* where 0 was published")],
)
def test_what_is_not_the_published_archive_is_not_used(
    tmp_path: Path,
    archive: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    reason: str,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    with pytest.raises(caltech.Unreachable, match=reason):
        caltech.fetch(address or archive[0], "0")

    assert list((tmp_path / "cache" / "visual-memory").iterdir()) == []
