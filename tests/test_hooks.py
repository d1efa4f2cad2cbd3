"""The hook of ``make hooks`` allows a commit only if ``make check`` passes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

HOOKS = Path(__file__).resolve().parents[1] / ".githooks"


@pytest.mark.parametrize(("answer", "commits"), [("true", True), ("false", False)])
def test_a_commit_goes_through_where_the_check_does(
    answer: str, commits: bool, tmp_path: Path
) -> None:
    (tmp_path / "Makefile").write_text(f"check:\n\t{answer}\n", encoding="utf-8")
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    author = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    command = ["git", *author, "-c", f"core.hooksPath={HOOKS}", "commit", "--allow-empty"]

    done = subprocess.run(
        [*command, "--quiet", "--message", "x"], capture_output=True, check=False, cwd=tmp_path
    )

    assert (done.returncode == 0) == commits
