"""The demo as a whole: it shows what it claims, writes its page, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from visual_memory import Decision, Neighbors
from visual_memory.terminal.refused import Refused
from visual_memory_embedders.images.images import KINDS
from visual_memory_service.demo.outcome import Answers, Outcome
from visual_memory_service.demo.pictures import CALTECH, by_class
from visual_memory_service.demo.story import check
from visual_memory_service.pictures.pictures import Picture

ROOT = Path(__file__).resolve().parents[3]
PYTHON = [sys.executable, "-W", "error"]
DEMO = ["-m", "visual_memory_service", "demo"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment, with a folder of the test for temporary files."""
    return environment_in(tmp_path)


def environment_in(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "scratch").mkdir()
    return {**os.environ, "TMPDIR": str(tmp_path / "scratch")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures of noise around three colours, with labels that HTML and filters must escape."""
    return draw(tmp_path)


def draw(tmp_path: Path) -> Path:
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


class Told(NamedTuple):
    """A demo of one's own pictures: the folder of the test, its output and its page."""

    tmp_path: Path
    said: str
    complaints: str

    @property
    def page(self) -> str:
        return (self.tmp_path / "out" / "demo.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    tmp_path = tmp_path_factory.mktemp("demo")
    flags = ("--images", str(draw(tmp_path)))
    return Told(tmp_path, *run(tmp_path, environment_in(tmp_path), *flags))


def test_it_learns_and_forgets_a_class_of_ones_own_pictures(told: Told) -> None:
    said = told.said

    assert all(" pictures" in line for line in told.complaints.splitlines()), "progress alone"
    assert '“blue "sky"”, a class it does not know: 0 of 2 right' in said
    assert "without training: 2 of 2 right" in said
    assert "every decision is what it was before, to the last bit" in said
    assert_nothing_is_left(told.tmp_path, said)


def test_what_it_leaves_out_of_ones_own_pictures_is_told(
    tmp_path: Path, environment: dict[str, str], folder: Path
) -> None:
    (folder / "few").mkdir()
    shutil.copy(folder / "red" / "0.png", folder / "few")
    shutil.copy(folder / "red" / "0.png", folder / "loose.png")
    (folder / "red" / "empty.png").touch()
    (folder / "red" / "phone.heic").touch()

    _, complaints = run(tmp_path, environment, "--images", str(folder))

    assert [line for line in complaints.splitlines() if "/s, " not in line] == [
        "Left out, as no pictures: 1 .heic.",
        "HEIC is not read: save such pictures as JPEG first, such as with: magick mogrify -format "
        "jpg *.heic",
        f"{folder}/loose.png lies directly in {folder}, not in a folder of its label.",
        f"{folder}/red/empty.png is not a whole {KINDS} image.",
        "Left out, as classes of fewer than 3 pictures that decode: few.",
    ]


def test_of_many_pictures_a_sample_is_taken_and_told(tmp_path: Path) -> None:
    for label in ("red", "blue"):
        (tmp_path / label).mkdir()
        for number in range(45):
            Image.new("RGB", (2, 2), (number, 0, 0)).save(tmp_path / label / f"{number}.png")

    chosen, odd = by_class(tmp_path)

    assert {label: len(each) for label, each in chosen.items()} == {"blue": 40, "red": 40}
    assert odd == [
        "A sample is taken, 80 of 90 pictures: at most 50 classes, and 40 pictures of each."
    ]


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("file", "file cannot be the folder of the page: File exists."),
        ("/proc/nix", "/proc/nix cannot be the folder of the page: No such file or directory."),
        ("taken", "taken/demo.html is a folder; name a file in it."),
    ],
)
def test_a_place_where_no_page_can_be_is_refused_before_anything_is_shown(
    tmp_path: Path, environment: dict[str, str], output: str, sentence: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "taken" / "demo.html").mkdir(parents=True)

    done = subprocess.run(
        [*PYTHON, *DEMO, "--output", output],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
    )

    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{sentence}\n")


def test_its_page_says_how_many_of_the_neighbours_are_shown(told: Told) -> None:
    assert "<small class=shown>8 of the 11 neighbours that vote</small>" in told.page
    assert "<small class=shown>4 of the 17 neighbours that vote</small>" in told.page


@pytest.mark.parametrize("name", ["it's", 'say "x"', "$(touch made)", "a b", ""])
def test_make_hands_it_the_name_of_a_folder_as_it_is(tmp_path: Path, name: str) -> None:
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "installed").touch()
    (tmp_path / "visual-memory").write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    (tmp_path / "visual-memory").chmod(0o755)
    make = ["make", "--silent", "--file", str(ROOT / "Makefile"), "demo"]
    given = ["SERVER=installed", "BIN=.", f"IMAGES={name.replace('$', '$$')}"]

    done = subprocess.run([*make, *given], cwd=tmp_path, capture_output=True, text=True)

    assert done.stdout.splitlines() == ["demo", *(["--images", name] if name else [])]


def test_its_page_is_one_file_that_needs_no_other(told: Told) -> None:
    page = told.page

    sources = re.findall(r"(?:src|href)=['\"]?([^'\" >]*)", page)
    assert sources
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert "url(" not in page
    assert "<!--" not in page
    assert "<b>*<" not in page
    assert "&lt;b&gt;*" in page


def test_its_own_pictures_show_what_the_service_is_for(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    said, complaints = run(tmp_path, environment)

    right = re.search(r"36 pictures never seen: ([\d.]+) % right", said)
    assert all(" pictures" in line for line in complaints.splitlines()), "progress alone"
    assert "Caltech-101: 10 classes, 200 pictures" in said
    assert right
    assert float(right[1]) > 90
    assert "“sunflower”, a class it does not know: 0 of 4 right" in said
    assert "without training: 4 of 4 right" in said
    assert_nothing_is_left(tmp_path, said)
    assert "CC BY 4.0" in (tmp_path / "out" / "demo.html").read_text(encoding="utf-8")


def test_its_own_pictures_are_those_of_the_data_set_scaled_down(shared: Path) -> None:
    published = shared / "data" / "caltech20"
    for path in CALTECH.glob("*/*.jpg"):
        with Image.open(path) as packaged, Image.open(published / path.relative_to(CALTECH)) as own:
            small = own.convert("RGB").resize(packaged.size, Image.Resampling.LANCZOS)
            distance = np.abs(np.asarray(packaged, float) - np.asarray(small, float)).mean()

            assert max(packaged.size) == 160
            assert distance < 8, path


def test_its_own_pictures_are_small_and_credited() -> None:
    paths = list(CALTECH.glob("*/*.jpg"))

    assert len(paths) == 200
    assert sum(path.stat().st_size for path in paths) <= 1_500_000
    assert "CC BY 4.0" in (CALTECH / "ATTRIBUTION.md").read_text(encoding="utf-8")


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


def outcome() -> Outcome:
    """Return the outcome of a successful demo: "new" is known only while remembered."""
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
