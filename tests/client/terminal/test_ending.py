"""A command ends with its own code, or with 1 and one sentence."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Sequence

import pytest
from tests.client.terminal.terminal import shown

from visual_memory.errors import InvalidArgument, NotFound
from visual_memory.terminal.ending import run_program
from visual_memory.terminal.refused import MissingExtra


def test_the_code_is_that_of_what_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["program", "a", "b"])

    assert run_program(len) == 2


@pytest.mark.parametrize(
    ("refusal", "sentence"),
    [
        (NotFound("There is no memory."), "There is no memory.\n"),
        (
            InvalidArgument("key[0]: no such file: a", field_violations=[("key[0]", "no such…")]),
            "No such file: a\n",
        ),
        (
            InvalidArgument("k must be 1.", field_violations=[("k", "must be 1")]),
            "k must be 1.\n",
        ),
        (
            PermissionError(13, "Permission denied", "a\nb"),
            "a\\nb cannot be used: Permission denied.\n",
        ),
        (
            MissingExtra("pyarrow", extra="parquet", purpose="Parquet"),
            "Parquet needs the Python package pyarrow, which is not installed; in the checkout of "
            "visual-memory: pip install -e '.[parquet]'\n",
        ),
    ],
)
def test_a_refusal_is_a_sentence_on_standard_error(
    refusal: Exception, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(arguments: Sequence[str]) -> int:
        raise refusal

    assert run_program(run) == 1
    assert capsys.readouterr() == ("", sentence)


def test_what_the_client_logs_is_a_line_on_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(arguments: Sequence[str]) -> int:
        logging.getLogger("visual_memory").warning("Refused: %s", "\x1b[2Jfull")
        return 0

    assert run_program(run) == 0
    assert capsys.readouterr() == ("", "Refused: \\x1b[2Jfull\n")


PROGRAM = """
import sys
from visual_memory.terminal.ending import run_program
from visual_memory.terminal.progress import Progress

def run(arguments):
    with Progress("things") as progress:
        progress.reach(1)
    print("done")
    return 0

sys.exit(run_program(run))
"""


@pytest.mark.parametrize(
    ("shell", "code", "said"),
    [
        (">&-", 0, ""),
        ("2>&-", 0, "done\n"),
        ("2>&- >&-", 0, ""),
        (">/dev/full", 1, "The answer could not be written: No space left on device.\n"),
        ("| true", 0, ""),
    ],
)
def test_where_the_answer_goes_changes_nothing_of_what_is_done(
    shell: str, code: int, said: str
) -> None:
    command = f'"{sys.executable}" -c "$0" {shell}'

    done = subprocess.run(["bash", "-c", command, PROGRAM], capture_output=True, text=True)

    assert (done.returncode, done.stdout + done.stderr) == (code, said)


REFUSING = """
import sys
from visual_memory.terminal.ending import run_program
from visual_memory.terminal.refused import Refused

def run(arguments):
    print("a part of the answer")
    raise Refused("It is refused.")

sys.exit(run_program(run))
"""


@pytest.mark.parametrize("shell", [">/dev/full", ">&-", "| true; exit ${PIPESTATUS[0]}"])
def test_a_refusal_is_told_wherever_the_answer_before_it_goes(shell: str) -> None:
    command = f'"{sys.executable}" -c "$0" {shell}'

    done = subprocess.run(["bash", "-c", command, REFUSING], capture_output=True, text=True)

    assert (done.returncode, done.stdout, done.stderr) == (1, "", "It is refused.\n")


LOGGING = """
import logging
import sys
from visual_memory.terminal.ending import run_program
from visual_memory.terminal.progress import Progress

def run(arguments):
    with Progress("things", 9, every=0.0) as progress:
        progress.reach(1)
        logging.getLogger("visual_memory").warning("Trying again.")
        progress.reach(2)
    return 0

sys.exit(run_program(run))
"""


def test_what_is_logged_on_a_terminal_takes_the_place_of_the_progress_line() -> None:
    said = shown([sys.executable, "-c", LOGGING], "stderr")

    assert "\r\033[K1/9 things\r\033[KTrying again.\r\n\r\033[K2/9 things" in said
