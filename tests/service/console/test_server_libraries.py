"""Commands that need a server's libraries, in a base install without them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from visual_memory_service.console.server_libraries import MODULES

WITHOUT = (
    f"import sys; sys.modules.update(dict.fromkeys({MODULES}))\n"
    "from visual_memory_service.__main__ import main\n"
    "sys.exit(main())"
)


@pytest.mark.parametrize(
    ("command", "purpose"),
    [
        ("serve --data data", "a server"),
        ("check --data data", "checking a data folder"),
        ("accept pets --data data", "accepting a memory"),
        ("signing-keys --rotate data", "making a key"),
        ("signing-keys --data data", "reading a key"),
        ("reranker crops", "a re-ranker"),
        ("reranker chat --url http://127.0.0.1:1/v1 --model some", "a re-ranker"),
        ("demo", "the demo"),
    ],
)
def test_the_base_install_says_that_it_is_the_client_alone_and_leaves_nothing_behind(
    command: str, purpose: str, tmp_path: Path
) -> None:
    line = [sys.executable, "-c", WITHOUT, *command.split()]

    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"This installation is the client alone; {purpose} needs the Python package blake3, which "
        "is not installed; in the checkout of visual-memory: pip install -e '.[cpu]'\n"
    )
    assert list(tmp_path.iterdir()) == []
