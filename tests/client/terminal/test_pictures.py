"""Pictures on a terminal."""

from __future__ import annotations

import base64
import io
import os
import re
import sys
from pathlib import Path

import pytest
from PIL import Image
from tests.client.terminal.terminal import shown
from tests.conftest import to_picture

from visual_memory.terminal.pictures import SHOWN_MAX, protocol

SCRIPT = """
import sys
from pathlib import Path
from visual_memory.terminal.pictures import show
show([(Path(path), f"{path} \\x1b[31mred") for path in sys.argv[1:]])
"""
KITTY = {"KITTY_WINDOW_ID": "1"}
ITERM = {"TERM_PROGRAM": "iTerm.app"}


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "wide.webp"
    path.write_bytes(to_picture(1, (900, 300), "WEBP"))
    return path


def output(environment: dict[str, str], *pictures: Path) -> str:
    """Return what a terminal of this environment is sent for pictures."""
    plain = {name: value for name, value in os.environ.items() if name not in ("TMUX", "TERM")}
    command = [sys.executable, "-c", SCRIPT, *map(str, pictures)]
    return shown(command, "stdout", env=plain | environment)


def test_kitty_is_sent_the_picture_in_chunks(picture: Path) -> None:
    sent = output(KITTY, picture)
    parts = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", sent)
    assert len(parts) > 1
    assert all(len(data) <= 4096 for _, data in parts)
    assert [head.endswith("m=1") for head, _ in parts] == [True] * (len(parts) - 1) + [False]
    data = base64.b64decode("".join(data for _, data in parts))
    assert Image.open(io.BytesIO(data)).size == (192, 64)
    assert "\x1b[31m" not in sent


def test_iterm_is_sent_the_picture_at_once(picture: Path) -> None:
    sent = output(ITERM, picture)
    found = re.search(r"\x1b\]1337;File=inline=1;size=(\d+);height=6:([^\a]*)\a", sent)
    assert found is not None
    data = base64.b64decode(found[2])
    assert len(data) == int(found[1])
    assert Image.open(io.BytesIO(data)).format == "PNG"


def test_other_terminals_are_sent_nothing(picture: Path) -> None:
    assert output({"TERM": "xterm-256color"}, picture) == ""
    assert output(KITTY | {"TMUX": "/tmp/tmux"}, picture) == ""
    assert protocol({"TERM_PROGRAM": "Apple_Terminal"}) == ""


def test_a_few_pictures_are_shown_of_many(picture: Path) -> None:
    assert output(ITERM, *[picture] * (SHOWN_MAX + 3)).count("]1337") == SHOWN_MAX
