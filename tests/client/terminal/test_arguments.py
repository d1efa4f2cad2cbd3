"""What commands have in common is read and refused alike."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable

import pytest

from visual_memory._terminal.arguments import SERVER, add, ask_server, natural, program, seconds


@pytest.fixture
def parser(monkeypatch: pytest.MonkeyPatch) -> ArgumentParser:
    """A program with one command, which asks a server and answers with its target."""
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
    ("read", "text"), [(seconds, "0"), (seconds, "inf"), (seconds, "nan"), (natural, "-1")]
)
def test_a_number_out_of_range_is_refused_with_what_it_is(
    read: Callable[[str], float], text: str
) -> None:
    with pytest.raises(ArgumentTypeError, match=f"but is {text}"):
        read(text)
