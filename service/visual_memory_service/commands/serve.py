"""``serve``: the server, with its log on standard error."""

from __future__ import annotations

import logging
import os
import sys
from argparse import ArgumentTypeError, Namespace
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from visual_memory.terminal.arguments import SERVER, Commands, add
from visual_memory.terminal.refused import Refused, WrongUsage
from visual_memory_service.config import BadSetting, NoDataFolder, to_settings
from visual_memory_service.console import server_libraries
from visual_memory_service.erasure.allocator import wipe_what_is_freed

FLAGS = ("data", "listen", "allow_embedder", "reranker", "threads")
LOG_LEVELS = ("debug", "info", "warning", "error")


def add_to(commands: Commands) -> None:
    parser = add(commands, "serve", "serve the memories of a folder")
    parser.add_argument(
        "--data", metavar="DIR", type=folder, help="where the memories are; made if missing"
    )
    parser.add_argument(
        "--listen", metavar="HOST:PORT", help=f"default: {SERVER}; port 0 is any free one"
    )
    parser.add_argument(
        "--config", metavar="FILE.toml", type=Path, help="settings; flags go before them"
    )
    parser.add_argument(
        "--allow-embedder",
        metavar="PATTERN",
        action="append",
        help="embedders beside the built-in ones that may be built, such as 'timm:*'; repeatable",
    )
    parser.add_argument(
        "--reranker",
        metavar="NAME=HOST:PORT",
        action="append",
        help="a re-ranker that decisions may ask, see the command reranker; repeatable",
    )
    parser.add_argument(
        "--threads", metavar="N", type=int, help="that compute; default: one for each core"
    )
    parser.add_argument("--log-level", choices=LOG_LEVELS, default="info", help="default: info")
    parser.set_defaults(run=serve)


def folder(text: str) -> str:
    """The name of a folder, which an unset variable of a shell is not."""
    if not text:
        raise ArgumentTypeError("must name a folder, but is empty")
    return text


def serve(options: Namespace) -> NoReturn:
    """Serve until SIGTERM or SIGINT, then end the process.

    Raises Refused for what keeps it from starting, WrongUsage.
    """
    server_libraries.need("a server")
    wipe_what_is_freed()  # the program has, unless it was called in another way
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # idle threads of FAISS must not spin
    given = {name: getattr(options, name) for name in FLAGS}
    flags = {name: value for name, value in given.items() if value is not None}
    try:
        settings = to_settings(flags, options.config)
    except NoDataFolder as error:
        raise WrongUsage(str(error)) from None
    except BadSetting as error:
        raise Refused(str(error)) from None
    # SQLite reads it when it is loaded; what it writes anew stays in the folder.
    os.environ["SQLITE_TMPDIR"] = str(settings.data / "unfinished")
    from visual_memory_embedders import EmbeddingRefusal
    from visual_memory_index import MemoryRefusal, in_full
    from visual_memory_service import server

    log_to_standard_error(options.log_level)
    try:
        server.serve(settings)
    except (BadSetting, EmbeddingRefusal, MemoryRefusal) as error:
        raise Refused(in_full(error)) from None
    except BrokenPipeError:  # whoever started it does not want to know where it listens
        raise
    except OSError as error:
        problem = error.strerror or error
        raise Refused(f"{settings.data} cannot be the data folder: {problem}.") from None
    # All is closed, and whoever starts the next server waits for the end of this one: Python would
    # first free its modules one by one.
    os._exit(0)


class StandardError:
    """Where a log goes; what cannot be written is lost, for no call may fail by a full disk."""

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # which a closed one raises
            sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()


def log_to_standard_error(level: str) -> None:
    """One JSON object a line."""
    import structlog

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(
                structlog.tracebacks.ExceptionDictTransformer(
                    show_locals=False
                )  # they hold entries
            ),
            structlog.processors.JSONRenderer(default=str),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(StandardError()),  # type: ignore[arg-type]  # it is asked to write alone
        cache_logger_on_first_use=True,
    )
