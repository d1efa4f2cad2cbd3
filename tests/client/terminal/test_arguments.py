"""Arguments that commands have in common are read and refused alike."""

from __future__ import annotations

import re
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable

import pytest

from visual_memory.client import Client
from visual_memory.terminal.arguments import (
    SERVER,
    add,
    ask_server,
    natural,
    program,
    run,
    seconds,
)
from visual_memory.terminal.refused import Refused, WrongUsage


@pytest.fixture
def parser(monkeypatch: pytest.MonkeyPatch) -> ArgumentParser:
    """A program with one command that asks a server and returns the length of its client's repr."""
    monkeypatch.delenv("VISUAL_MEMORY_SERVER", raising=False)
    parser = program("program", "Do something.")
    command = add(parser.add_subparsers(), "name", "say where it asks")
    ask_server(command, lambda client, options: len(repr(client)))
    return parser


def test_a_command_asks_the_server_that_is_named(parser: ArgumentParser) -> None:
    here = parser.parse_args(["name"])
    there = parser.parse_args(["name", "--server", "elsewhere:1", "--timeout", "2"])

    assert (here.server, here.timeout) == (SERVER, 60.0)
    assert (there.server, there.timeout) == ("elsewhere:1", 2.0)
    assert there.run(there) == len("<Client of elsewhere:1>")


@pytest.mark.parametrize(
    "line",
    [
        "a b --flag c",
        "a --flag c b",
        "--flag c a b",
        "--flag b a b",
        "a --flag b b",
        "a --many 3 b --flag b",
        "a --flag - b",
    ],
)
def test_options_may_stand_before_an_argument_that_may_be_left_out(line: str) -> None:
    seen = list[tuple[str, str | None]]()
    parser = program("program", "Do something.")
    command = add(parser.add_subparsers(), "name", "have two arguments")
    command.add_argument("first")
    command.add_argument("second", nargs="?")
    command.add_argument("--flag")
    command.add_argument("--many")
    command.set_defaults(run=lambda options: seen.append((options.first, options.second)))

    run(parser, ["name", *line.split()])

    assert seen == [("a", "b")]


@pytest.mark.parametrize("line", ["a b c", "a --flag b c d", "a --flug b"])
def test_arguments_that_are_too_many_are_named(
    capsys: pytest.CaptureFixture[str], line: str
) -> None:
    parser = program("program", "Do something.")
    command = add(parser.add_subparsers(), "name", "have two arguments")
    command.add_argument("first")
    command.add_argument("second", nargs="?")
    command.add_argument("--flag")

    with pytest.raises(SystemExit):
        run(parser, ["name", *line.split()])

    assert re.search(
        r"unrecognized arguments: (c|d|--flug b \(did you mean --flag\?\))$",
        capsys.readouterr().err,
    )


def test_one_too_many_is_named_also_where_an_argument_excludes_an_option(
    capsys: pytest.CaptureFixture[str],
) -> None:
    parser = program("program", "Do something.")
    either = add(parser.add_subparsers(), "name", "have one of two").add_mutually_exclusive_group()
    either.add_argument("first", nargs="?")
    either.add_argument("--flag")

    with pytest.raises(SystemExit):
        run(parser, ["name", "a", "b"])

    assert capsys.readouterr().err.endswith("unrecognized arguments: b\n")


@pytest.mark.parametrize(
    "line", ["--flag x a b c", "a b --flag x c", "--flag x a b --many 3 c", "a --flag x b c"]
)
def test_what_comes_late_takes_the_place_of_no_other(line: str) -> None:
    seen = list[tuple[str, list[str]]]()
    parser = program("program", "Do something.")
    kinds = add(parser.add_subparsers(), "outer", "have kinds").add_subparsers()
    command = add(kinds, "inner", "have some arguments")
    command.add_argument("first")
    command.add_argument("others", nargs="+")
    command.add_argument("--flag")
    command.add_argument("--many")
    command.set_defaults(run=lambda options: seen.append((options.first, options.others)))

    run(parser, ["outer", "inner", *line.split()])

    assert seen == [("a", ["b", "c"])]


@pytest.mark.parametrize(
    ("flag", "value", "wish"),
    [
        ("--server", "http://127.0.0.1:50051", "HOST:PORT, but is 'http://127.0.0.1:50051'; HOST"),
        ("--server", "localhost", "HOST:PORT, but is 'localhost'; HOST is a name or an address"),
        ("--timeout", "1e300", "positive seconds, but is 1e"),
    ],
)
def test_a_connection_that_cannot_be_is_refused_by_its_option(
    parser: ArgumentParser, flag: str, value: str, wish: str
) -> None:
    with pytest.raises(Refused, match=f"^{flag} must be {wish}"):
        run(parser, ["name", flag, value])


@pytest.mark.parametrize(
    ("variable", "value", "wish"),
    [
        ("SERVER", "localhost", " must be HOST:PORT, but is 'localhost'"),
        ("API_KEY", "a b", " must be what visual-memory keys create printed: up to 4,096 char"),
        ("API_KEY_FILE", "nowhere.key", ": no such file: nowhere.key"),
        ("ROOT_CERTIFICATES", "nowhere.pem", ": no such file: nowhere.pem"),
        ("CLIENT_KEY", "nowhere.pem", ": no such file: nowhere.pem"),
        ("API_KEY_FILE", "vm_0123456789ab_5ec12e7", " must be the path .* VISUAL_MEMORY_API_KEY;"),
        ("CLIENT_KEY", "-----BEGIN EC PRIVATE KEY-----\n5ec12e7", " must be the path of a file"),
        ("API_KEYFILE", "a.key", " is no variable that is read; did you mean .*_API_KEY_FILE or"),
        ("KEY", "a.key", " is no variable that is read; did you mean .*_API_KEY or"),
        (
            "SERVE_API_KEY",
            "a",
            " is no variable that is read; did you mean VISUAL_MEMORY_API_KEY[?]",
        ),
        ("CLIENT_KEY", __file__, " holds no private key without a password in PEM"),
        (
            "CLIENT_CERT",
            "a.pem",
            " is no variable that is read; did you mean .*_CLIENT_CERTIFICATE",
        ),
    ],
)
def test_a_variable_that_cannot_be_used_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, wish: str
) -> None:
    monkeypatch.setenv(f"VISUAL_MEMORY_{variable}", value)
    if variable == "CLIENT_KEY":
        monkeypatch.setenv("VISUAL_MEMORY_CLIENT_CERTIFICATE", __file__)
    parser = program("program", "Do something.")
    ask_server(add(parser.add_subparsers(), "name", "ask"), lambda client, options: None)

    with pytest.raises(Refused, match=f"^VISUAL_MEMORY_{variable}{wish}") as refused:
        run(parser, ["name"])
    assert "5ec12e7" not in str(refused.value)


@pytest.mark.parametrize("rest", ["SERVICE_HOST", "PORT", "PORT_50051_TCP", "SERVE_DATA", "DATA"])
def test_variables_of_others_are_no_mistyped_ones(
    parser: ArgumentParser, monkeypatch: pytest.MonkeyPatch, rest: str
) -> None:
    monkeypatch.setenv(f"VISUAL_MEMORY_{rest}", "tcp://10.0.0.1:50051")

    assert run(parser, ["name"]) > 0


@pytest.mark.parametrize(
    ("read", "text"), [(seconds, "0"), (seconds, "inf"), (seconds, "nan"), (natural, "-1")]
)
def test_a_number_out_of_range_is_refused_with_what_it_is(
    read: Callable[[str], float], text: str
) -> None:
    with pytest.raises(ArgumentTypeError, match=f"but is {text}"):
        read(text)


def test_wrong_usage_that_a_command_notices_looks_as_if_argparse_had(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def lack(client: Client, options: Namespace) -> int:
        raise WrongUsage("the following arguments are required: B")

    parser = program("program", "Do something.")
    kinds = add(parser.add_subparsers(), "outer", "have kinds").add_subparsers()
    command = add(kinds, "inner", "lack something")
    command.add_argument("b", metavar="B", nargs="?")
    ask_server(command, lack)

    with pytest.raises(SystemExit) as exit:
        run(parser, ["outer", "inner"])

    noticed = capsys.readouterr().err
    assert exit.value.code == 2
    with pytest.raises(SystemExit):
        command.error("the following arguments are required: B")
    assert capsys.readouterr().err == noticed
    assert noticed.startswith("usage: program outer inner ")
