"""``serve``: run the server, with its log on standard error."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from argparse import Namespace
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from types import FrameType
from typing import NoReturn

from visual_memory.terminal.arguments import SERVER, VARIABLES, Commands, add, check_environment
from visual_memory.terminal.refused import Refused, WrongUsage
from visual_memory_service import config
from visual_memory_service.console import server_libraries
from visual_memory_service.console.arguments import add_path
from visual_memory_service.console.files import no_data_folder
from visual_memory_service.erasure.environment import run_with_environment

NUMBERS = {  # settings that are one number, with what they say
    "slow_seconds": "calls that take as long are logged with their parts",
    "threads": "threads that compute, in each pool; default: one for each core",
    "message_bytes_max": "bytes of one message to the server",
    "image_bytes_max": "bytes of one picture",
    "image_pixels_max": "pixels of one picture",
    "items_max": "entries or queries of one message",
    "neighbors_max": "neighbours of all queries of one message",
    "calls_max": "calls that are worked on at once; more wait",
    "connection_calls_max": "calls of one connection at once; more wait in its client",
    "connections_max": "connections",
    "pending_bytes_max": "bytes that the messages worked on at once may hold",
    "idle_seconds": "how long a client may be silent in a call",
    "drain_seconds": "how long calls under way may take after SIGTERM",
}
READ_BYTES = 1 << 12
TURN_SECONDS = 0.001  # of a thread of Python while others wait: a call waits for several


def add_to(commands: Commands) -> None:
    parser = add(commands, "serve", "run the server for the memories of a folder")
    to = parser.add_mutually_exclusive_group()
    add_path(to, "--data", "DIR", "the folder of the memories; created if missing")
    to.add_argument(
        "--temporary",
        action="store_true",
        help="make a folder, serve it until standard input ends, and delete it then",
    )
    parser.add_argument(
        "--listen", metavar="HOST:PORT", help=f"default: {SERVER}; port 0 is any free one"
    )
    add_path(parser, "--config", "FILE.toml", "a file of settings, which flags override")
    parser.add_argument(
        "--allow-embedder",
        metavar="PATTERN",
        action="append",
        help="further embedders that clients may use, such as 'timm:*'; repeatable",
    )
    parser.add_argument(
        "--reranker",
        metavar="NAME=HOST:PORT",
        action="append",
        help="a re-ranker that clients may use, see the command reranker; repeatable",
    )
    parser.add_argument(
        "--public",
        choices=config.PUBLIC,
        action="append",
        help="what is answered without a key, where there are keys; repeatable",
    )
    parser.add_argument(
        "--key-limit",
        metavar="NAME=NUMBER",
        dest="key_limits",
        action="append",
        help="a limit of each key that has none of its own; repeatable, in place of the default: "
        "calls=128 streams=32",
    )
    parser.add_argument(
        "--allow-anyone",
        action="store_const",
        const=True,
        help="listen where other machines reach the server, though there are no keys, so that "
        "anyone may do everything",
    )
    add_path(
        parser, "--tls-certificate", "FILE.pem", "the server's certificate, with its chain, for TLS"
    )
    add_path(parser, "--tls-key", "FILE.pem", "the private key of the certificate")
    add_path(
        parser,
        "--tls-client-ca",
        "FILE.pem",
        "CAs of the certificates that clients must have then; one whose name a key by certificate "
        "has needs no other key",
    )
    parser.add_argument(
        "--http-listen",
        metavar="HOST:PORT",
        help="serve JSON over HTTP there, with the same keys and TLS; default: nowhere",
    )
    parser.add_argument(
        "--http-origin",
        metavar="URL",
        dest="http_origins",
        action="append",
        help="a site whose pages may call by HTTP, such as https://example.org; repeatable",
    )
    parser.add_argument(
        "--metrics-listen",
        metavar="HOST:PORT",
        help="serve metrics for Prometheus there, over HTTP, to all who reach it; default: nowhere",
    )
    parser.add_argument(
        "--traces-to",
        metavar="URL",
        help="send traces to an OTLP endpoint, such as http://127.0.0.1:4317; default: nowhere",
    )
    parser.add_argument(
        "--erasure",
        choices=config.ERASURES,
        help="what unlearning erases from; files leaves the server's RAM as it is, and calls are "
        f"faster; default: {config.FILES_AND_MEMORY}",
    )
    parser.add_argument(
        "--originals",
        choices=config.ORIGINALS,
        help="where the vectors are kept; disk keeps codes of them in RAM, a quarter of their "
        f"size, and reads the vectors of the nearest from the files; default: {config.RAM}",
    )
    parser.add_argument(
        "--device",
        choices=config.DEVICES,
        help="where pictures are embedded and vectors scanned; cuda is a GPU, auto is one if there "
        f"is one; default: {config.CPU}",
    )
    defaults = {field.name: field.default for field in fields(config.Settings)}
    for name, said in NUMBERS.items():
        default = "" if "default" in said else f"; default: {defaults[name]}"
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            metavar="N",
            type=config.KINDS[name].parse,
            help=f"{said}{default}",
        )
    parser.add_argument("--log-level", choices=config.LOG_LEVELS, help="default: info")
    parser.add_argument(
        "--log-format",
        choices=config.LOG_FORMATS,
        help="JSON lines, or text for people; default: json",
    )
    parser.set_defaults(run=serve)


def serve(options: Namespace) -> NoReturn:
    """Serve until SIGTERM or SIGINT, then end the process. Raises Refused, WrongUsage."""
    server_libraries.need("a server")
    if options.temporary:
        with TemporaryDirectory(prefix="visual-memory-") as folder:
            options.data = Path(folder)
            signal.signal(signal.SIGTERM, leave)  # until the server has started
            Thread(target=stop_with_input, daemon=True).start()
            serve_folder(options)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the folder must go
    else:
        serve_folder(options)
    # All is closed; freeing all modules one by one would only delay the start of the next server.
    os._exit(0)


def serve_folder(options: Namespace) -> None:
    """Serve a data folder until SIGTERM or SIGINT. Raises Refused, WrongUsage."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # idle threads of PyTorch must not spin
    check_environment([*VARIABLES, *config.VARIABLES])
    given = {name: getattr(options, name) for name in config.KINDS}
    flags = {name: value for name, value in given.items() if value is not None}
    try:
        settings = config.to_settings(flags, options.config, os.environ)
    except config.NoDataFolder as error:
        raise WrongUsage(str(error)) from None
    except config.BadSetting as error:
        raise Refused(str(error)) from None
    if settings.erasure == config.FILES_AND_MEMORY:
        run_with_environment()  # done by __main__, unless called in another way
    # SQLite reads it when it is loaded; its temporary files stay in the folder.
    os.environ["SQLITE_TMPDIR"] = str(settings.data / "unfinished")
    gc.disable()  # the objects of modules stay, so no collection need examine them, now or later
    from visual_memory_embedders.errors import EmbeddingRefusal
    from visual_memory_index.errors import MemoryRefusal, in_full
    from visual_memory_service import server

    gc.freeze()
    gc.enable()
    sys.setswitchinterval(TURN_SECONDS)
    log_to_standard_error(settings.log_level, settings.log_format)
    try:
        server.serve(settings)
    except (config.BadSetting, EmbeddingRefusal, MemoryRefusal) as error:
        raise Refused(in_full(error)) from None
    except BrokenPipeError:  # standard output is closed: nobody reads where it listens
        raise
    except OSError as error:
        raise Refused(no_data_folder(settings.data, error)) from None


def leave(number: int, frame: FrameType | None) -> NoReturn:
    """Signal handler that exits with clean-up."""
    sys.exit(0)


def stop_with_input() -> None:
    """Wait for the end of standard input, and stop this process as SIGTERM does."""
    with suppress(OSError):  # there is none
        while os.read(0, READ_BYTES):
            pass
    os.kill(os.getpid(), signal.SIGTERM)


class StandardError:
    """Standard error as the file of log lines; a line that cannot be written is dropped."""

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # ValueError if it is closed
            sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()


def log_to_standard_error(level: str, format: str = "json") -> None:
    """Configure the log on standard error: JSON, an object a line, or text for people.

    Tracebacks are without local variables, which may hold entries.
    """
    import structlog

    if format == "text":
        plain = structlog.dev.plain_traceback
        last: list[structlog.typing.Processor] = [
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)
        ]
    else:
        errors = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        last = [
            structlog.processors.ExceptionRenderer(errors),
            structlog.processors.JSONRenderer(default=str),
        ]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(StandardError()),  # type: ignore[arg-type]  # it is asked to write alone
        cache_logger_on_first_use=True,
    )
