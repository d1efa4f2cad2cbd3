"""The end of a command: its exit code, and refusals as sentences without a traceback."""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper

import visual_memory
from visual_memory.terminal.output import say
from visual_memory.terminal.refused import Refused

PIPE_CLOSED = 141  # 128 + SIGPIPE
UNWRITTEN = (errno.ENOSPC, errno.EIO, errno.EBADF)


class StandardError(logging.Handler):
    """A log handler that prints on standard error, such as what a call is waiting for."""

    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage(), file=sys.stderr)


STANDARD_ERROR = StandardError()


def run_program(run: Callable[[Sequence[str]], int]) -> int:
    """Call ``run`` with this process's arguments and return the exit code of the program.

    Refusals, errors of calls and errors of named files become sentences on standard error, and exit
    code 1.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # it was closed
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  # until the process ends
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files need not be UTF-8
    logging.getLogger("visual_memory").addHandler(STANDARD_ERROR)
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
        return code
    except Refused as refusal:
        print(refusal, file=sys.stderr)
        write_or_leave()
        return 1
    except visual_memory.Error as error:
        say(without_field(error), file=sys.stderr)  # its advice is for Python
        write_or_leave()
        return 1
    except BrokenPipeError:
        leave_unwritten()
        return PIPE_CLOSED
    except OSError as error:
        if error.filename is not None:
            say(f"{error.filename} cannot be used: {error.strerror}.", file=sys.stderr)
            write_or_leave()
            return 1
        if error.errno not in UNWRITTEN:
            raise
        print(f"The answer could not be written: {error.strerror}.", file=sys.stderr)
        leave_unwritten()
        return 1


def without_field(error: visual_memory.Error) -> str:
    """Return the message of an error, without the Python argument at its beginning."""
    for path, _ in error.field_violations[:1]:
        if error.message.startswith(f"{path}: "):
            problem = error.message.removeprefix(f"{path}: ")
            return problem[:1].upper() + problem[1:]
    return error.message


def write_or_leave() -> None:
    """Write buffered standard output, or discard it if that is not possible."""
    try:
        sys.stdout.flush()
    except OSError:
        leave_unwritten()


def leave_unwritten() -> None:
    """Discard buffered standard output, whose flush at exit would fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
