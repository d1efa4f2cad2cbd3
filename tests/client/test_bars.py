"""Progress bars of a program."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from tests.conftest import Server

import visual_memory
from visual_memory.bars import Bar


def test_a_bar_counts_up_to_the_total_and_begins_anew(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Bar("entries")
    for done in (1, 3, 4):
        bar(done, 4)
    bar(2, 2)

    shown = capsys.readouterr().err
    assert "entries: 100%" in shown
    assert "4/4" in shown
    assert "2/2" in shown


def test_it_shows_the_progress_of_a_call(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    with visual_memory.connect(server.address) as client:
        memory = client.create_memory("counted", dimension=2)
        vectors = np.ones((5, 2), np.float32)
        memory.insert(vectors=vectors, labels=["a"] * 5, progress=Bar())
        client.delete_memory("counted")
    assert "5/5" in capsys.readouterr().err


def test_without_tqdm_it_says_what_to_install() -> None:
    script = "import sys; sys.modules['tqdm'] = None; from visual_memory.bars import Bar; Bar()"
    failed = subprocess.run([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    assert failed.returncode == 1
    assert "pip install 'visual-memory[notebook]'" in failed.stderr
