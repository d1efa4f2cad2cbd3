"""Parsers and options that the commands of both programs have in common."""

from __future__ import annotations

import os
import re
import sys
from argparse import (
    Action,
    ArgumentParser,
    ArgumentTypeError,
    Namespace,
    _ActionsContainer,
    _SubParsersAction,
)
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import TypeAlias

import visual_memory
from visual_memory.terminal.output import say
from visual_memory.terminal.refused import Refused, WrongUsage

SERVER = "127.0.0.1:50051"
PREFIX = "VISUAL_MEMORY_"  # of variables of the environment
SERVE = "SERVE_"  # follows in those that a server reads, and checks
API_KEY = f"{PREFIX}API_KEY"
API_KEY_TEXT = re.compile(r"(vm_[0-9a-f]{12}_)\S+")
FILES = (  # options of a connection, with the environment variables that stand for them
    (
        "--api-key-file",
        "VISUAL_MEMORY_API_KEY_FILE",
        f"the key that the server knows the caller by; ${API_KEY} may have it, too",
    ),
    (
        "--root-certificates",
        "VISUAL_MEMORY_ROOT_CERTIFICATES",
        "PEM of the CA of the server's certificate, which has the connection encrypted",
    ),
    (
        "--client-certificate",
        "VISUAL_MEMORY_CLIENT_CERTIFICATE",
        "PEM of the caller's certificate, for a server that asks for one",
    ),
    ("--client-key", "VISUAL_MEMORY_CLIENT_KEY", "PEM of its private key"),
)
VARIABLES = (f"{PREFIX}SERVER", API_KEY, *(variable for _, variable, _ in FILES))
ALIKE = 0.74  # of names that one may be mistyped for; lower, Kubernetes' own would be some

VERSION_HELP = "show program's version number and exit"

Command: TypeAlias = "Callable[[visual_memory.Client, Namespace], int | None]"
Commands: TypeAlias = "_SubParsersAction[ArgumentParser]"


class ShowVersion(Action):
    """The action of --version, which looks the version up only when it is to be shown."""

    def __call__(self, parser: ArgumentParser, *_: object) -> None:
        print(visual_memory.__version__)
        parser.exit()


def program(name: str, description: str) -> ArgumentParser:
    """Create the parser of a program, with --version."""
    parser = ArgumentParser(
        prog=name,
        description=description,
        epilog="Exit codes: 0 done, 1 refused (a sentence on standard error says why), "
        "2 wrong usage.",
        allow_abbrev=False,
    )
    parser.set_defaults(command=parser)
    parser.add_argument("--version", nargs=0, action=ShowVersion, help=VERSION_HELP)
    return parser


def run(parser: ArgumentParser, arguments: Sequence[str]) -> int:
    """Parse arguments, run their command and return its exit code, 0 if it returns None.

    Raises SystemExit with 2 for wrong usage, and Refused and Error as the command does.
    """
    options, unknown = parser.parse_known_args(arguments)
    command: ArgumentParser = options.command
    if unknown and not any(each.startswith("-") and each.strip("-") for each in unknown):
        # Until Python 3.12.7 an argument that may be left out is not taken after an option.
        names = len(command.prog.split()) - 1  # of the command, with those above it
        with suppress(TypeError):  # it does not mix them where one excludes an option
            options, unknown = command.parse_known_intermixed_args(arguments[names:])
    if unknown:  # argparse itself would show the usage of the whole program
        said = API_KEY_TEXT.sub(r"\1…", " ".join(unknown))
        command.error(f"unrecognized arguments: {said}{meant(unknown, command)}")
    try:
        code: int | None = options.run(options)
        return code or 0
    except WrongUsage as problem:
        command.error(str(problem))


def meant(unknown: Sequence[str], command: ArgumentParser) -> str:
    """Return `` (did you mean …?)`` for the first unknown option that is nearly one, or nothing."""
    known = [each for action in command._actions for each in action.option_strings]
    for each in unknown:
        if each.startswith("--"):
            for near in get_close_matches(each.partition("=")[0], known, 1, ALIKE):
                return f" (did you mean {near}?)"
    return ""


def add(commands: Commands, name: str, help: str) -> ArgumentParser:
    """Add the command ``name`` and return its parser; ``help`` is its description, too."""
    parser = commands.add_parser(
        name, help=help, description=f"{help[0].upper()}{help[1:]}.", allow_abbrev=False
    )
    parser.set_defaults(command=parser)
    return parser


def ask_server(parser: ArgumentParser, command: Command) -> None:
    """Add the options of a connection to a command's parser, and have it call ``command``.

    ``command`` gets a client of that server and the parsed options.
    """
    add_server(parser.add_argument_group("connection"))

    def ask(options: Namespace) -> int | None:
        with connect(options) as client:
            return command(client, options)

    parser.set_defaults(run=ask)


def add_server(to: _ActionsContainer, *, with_key: bool = True) -> None:
    """Add the options of a connection; ``with_key`` is as for ``add_connection``."""
    to.add_argument(
        "--server",
        metavar="HOST:PORT",
        default=os.environ.get("VISUAL_MEMORY_SERVER") or SERVER,
        help=f"default: $VISUAL_MEMORY_SERVER, else {SERVER}",
    )
    add_connection(to, with_key=with_key)


def add_connection(to: _ActionsContainer, *, with_key: bool = True) -> None:
    """Add the options of a connection, but for the server's address.

    Those who are to come with a key of their own have none of a file: ``with_key`` is False.
    """
    for option, variable, help in FILES if with_key else FILES[1:]:
        to.add_argument(
            option,
            metavar="FILE",
            default=os.environ.get(variable) or None,
            help=f"{help}; default: ${variable}",
        )
    to.add_argument(
        "--tls",
        action="store_true",
        help="encrypt, where the server has a certificate of a CA that is known anyway",
    )
    to.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=60.0,
        help="for one message with its retries; default: 60",
    )


def connect(options: Namespace) -> visual_memory.Client:
    """Connect to the server that --server names, with the key of the environment or of a file.

    Raises Refused if the server is no address, a file cannot be used, or a variable is mistyped.
    """
    check_environment(VARIABLES)
    try:
        return visual_memory.connect(
            options.server,
            api_key=api_key(options),
            tls=options.tls,
            root_certificates=options.root_certificates,
            client_certificate=options.client_certificate,
            client_key=options.client_key,
            timeout=options.timeout,
        )
    except visual_memory.InvalidArgument as error:
        ((field, _),) = error.field_violations
        raise Refused(f"{origin(field, options)}{error.message.removeprefix(field)}") from None


def origin(field: str, options: Namespace) -> str:
    """Return the option, or the environment variable, that an argument of ``connect`` came from."""
    if field == "api_key" and options.api_key_file is None:
        return API_KEY
    name = {"target": "server", "api_key": "api_key_file"}.get(field, field)
    variable, value = f"{PREFIX}{name.upper()}", getattr(options, name)
    from_environment = value is not None and os.environ.get(variable) == value
    return variable if from_environment else f"--{name.replace('_', '-')}"


def check_environment(known: Collection[str]) -> None:
    """Raise Refused for a variable whose name is nearly one of the ``known``, and none of them."""
    rests = [each.removeprefix(PREFIX) for each in known]
    for name in os.environ:
        if name.startswith(PREFIX) and name not in known:
            rest = name.removeprefix(PREFIX)
            bare = rest.removeprefix(SERVE)
            near = [each for each in rests if f"_{each}".endswith(f"_{bare}")]
            if not near and "_" in bare:  # cut short
                near = [each for each in rests if each.removeprefix(SERVE).startswith(bare)]
            if not near and bare == rest:  # a server tells its own
                near = get_close_matches(rest, rests, 2, ALIKE)
            if near:
                meant = " or ".join(f"{PREFIX}{each}" for each in near[:2])
                raise Refused(f"{name} is no variable that is read; did you mean {meant}?")


def api_key(options: Namespace) -> str | None:
    """Return the key in the file that was named, or the environment's. Raises InvalidArgument."""
    if options.api_key_file is None:
        return os.environ.get(API_KEY) or None
    return secret(options.api_key_file, "api_key")


def secret(path: str | os.PathLike[str], name: str) -> str:
    """Return the secret in a file, and warn if others can read it. Raises InvalidArgument."""
    from visual_memory.files import others_can_read, read_file  # which loads gRPC

    data = read_file(path, name)
    if others_can_read(path):
        say(f"Others can read {path}, which is secret: chmod 600 {path}", file=sys.stderr)
    return data.decode(errors="replace").strip()


def add_json(parser: ArgumentParser) -> None:
    """Add the option --json to a command's parser."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def flags(values: Mapping[str, object]) -> str:
    """Format values by name as the flags of a command, such as ``--k 50``, without those of None.

    Underscores become hyphens.
    """
    shown = {
        name.replace("_", "-"): str(value).removesuffix(".0")
        for name, value in values.items()
        if value is not None
    }
    return " ".join(f"--{name} {value}" for name, value in shown.items())


def file_or_folder(text: str) -> Path:
    """Parse a path. Raises ArgumentTypeError for an empty one, as of an unset shell variable."""
    if not text:
        raise ArgumentTypeError("must name a file or folder, but is empty")
    return Path(text)


def seconds(text: str) -> float:
    """Parse a positive number of seconds. Raises ArgumentTypeError or ValueError."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise ArgumentTypeError(f"must be a positive number of seconds, but is {text}")
    return value


def natural(text: str) -> int:
    """Parse a whole number from 0. Raises ArgumentTypeError or ValueError."""
    value = int(text)
    if value < 0:
        raise ArgumentTypeError(f"must not be negative, but is {text}")
    return value
