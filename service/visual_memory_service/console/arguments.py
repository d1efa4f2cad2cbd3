"""Options that commands of ``visual-memory`` have in common."""

from __future__ import annotations

import re
from argparse import ArgumentParser, ArgumentTypeError, Namespace, _ActionsContainer
from collections.abc import Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Any, NamedTuple

from visual_memory.options import HEADS, VOTINGS
from visual_memory.terminal import arguments as terminal
from visual_memory.terminal.arguments import Command, Commands
from visual_memory.terminal.refused import WrongUsage
from visual_memory.types import DefaultRule, MemoryInfo, Rule


class Parameter(NamedTuple):
    """A parameter of a rule; it counts if the parameter ``of`` is one of ``values``, or none is."""

    default: float | str
    of: str = ""
    values: tuple[str, ...] = ()


VOTES = ("k", "voting", "temperature", "balance")
RULE: Mapping[str, Parameter] = MappingProxyType(
    {
        "k": Parameter(50),
        "voting": Parameter("rank"),
        "temperature": Parameter(0.07, "voting", ("softmax",)),
        "balance": Parameter(0.0),
        "head": Parameter("none"),
        "ridge": Parameter(1.0, "head", HEADS[2:]),
        "head_temperature": Parameter(0.05, "head", HEADS[1:]),
        "blend": Parameter(0.5, "head", HEADS[1:]),
    }
)
LIKE_BEFORE = "with the pictures or the --group-by of before, if there were any"
FILTER = 'such as: label = "cat" AND metadata.source = "web"'


def add_asking(
    commands: Commands, name: str, command: Command, help: str, *, memory: bool = True
) -> ArgumentParser:
    """Add a command that calls a server, with its options and, if ``memory``, a memory's name."""
    parser = terminal.add(commands, name, help)
    if memory:
        parser.add_argument("name", metavar="NAME", help="the memory")
    terminal.ask_server(parser, command)
    terminal.add_json(parser)
    return parser


def add_path(to: _ActionsContainer, name: str, metavar: str, help: str, **options: Any) -> None:
    """Add an argument that names a file or folder; if it is ``required``, the help says so."""
    needed = "; needed" if options.get("required") else ""
    kind = terminal.file_or_folder
    to.add_argument(name, metavar=metavar, type=kind, help=f"{help}{needed}", **options)


def add_apply(parser: ArgumentParser) -> None:
    """Add --apply."""
    parser.add_argument("--apply", action="store_true", help="do it; without it only show it")


def add_group_by(parser: ArgumentParser) -> None:
    """Add --group-by, which is None if it is not given."""
    parser.add_argument(
        "--group-by",
        metavar="KEY",
        type=not_empty,
        help="a key of the metadata: entries with the same value are not asked of each other",
    )


def not_empty(text: str) -> str:
    """Parse a text for which no empty variable of a shell may stand. Raises ArgumentTypeError."""
    if not text:
        raise ArgumentTypeError("must not be empty")
    return text


def add_allow_missing(parser: ArgumentParser) -> None:
    """Add --allow-missing."""
    parser.add_argument("--allow-missing", action="store_true", help="skip unknown ids")


def add_rule(parser: ArgumentParser, neighbors: str) -> None:
    """Add the options of a decision rule; ``neighbors`` is as for ``add_k``.

    An option that is not given is None, so that the server decides.
    """
    parser.add_argument("-k", "--k", metavar="K", type=int, help=tuned("k", neighbors))
    parser.add_argument("--voting", choices=VOTINGS, help=tuned("voting", "how votes are weighted"))
    parser.add_argument(
        "--temperature",
        metavar="T",
        type=float,
        help=tuned("temperature", "that of softmax voting"),
    )
    parser.add_argument(
        "--balance",
        metavar="P",
        type=float,
        help=tuned(
            "balance",
            "multiply each vote by the number of entries of its label to the power of -P, from 0 "
            "to 1, so that rare labels are heard",
        ),
    )
    parser.add_argument(
        "--head",
        choices=HEADS,
        help=tuned("head", "a classifier in closed form that decides with the votes"),
    )
    parser.add_argument(
        "--ridge", metavar="R", type=float, help=tuned("ridge", "that of discriminants")
    )
    parser.add_argument(
        "--head-temperature",
        metavar="T",
        type=float,
        help=tuned("head_temperature", "at which its scores become shares"),
    )
    parser.add_argument(
        "--blend",
        metavar="B",
        type=float,
        help=tuned("blend", "its part of each score, from 0 to 1, the votes the rest"),
    )


def tuned(name: str, help: str) -> str:
    """Return the ``help`` of a rule's parameter with its default."""
    default = str(RULE[name].default).removesuffix(".0")
    return f"{help}; default: as tuned, else {default}"


def rule(options: Namespace) -> dict[str, Any]:
    """Return the options that ``add_rule`` adds as arguments of ``Memory.classify``."""
    return {name: getattr(options, name) for name in RULE}


def deciding_rule(default: DefaultRule | None, options: Namespace) -> Rule:
    """Return the rule of a memory of this ``default``: its parameters, but for those given."""
    values: dict[str, Any] = {name: each.default for name, each in RULE.items()}
    for known in ({} if default is None else asdict(default.rule), rule(options)):
        values |= {name: value for name, value in known.items() if value is not None}
    unused = {
        name: None for name, each in RULE.items() if each.of and values[each.of] not in each.values
    }
    return Rule(**values | unused)


def rule_of(info: MemoryInfo) -> Rule:
    """Return the rule of a memory where a call names nothing else."""
    return deciding_rule(info.default_rule, Namespace(**dict.fromkeys(RULE)))


def calibration_hint(info: MemoryInfo) -> str | None:
    """Return what to do if a memory decides by another rule than its calibration is of."""
    decides = rule_of(info)
    if info.calibration is None or info.calibration.rule == decides:
        return None
    return (
        "Its calibration is of another rule, and --calibrated and --coverage are refused until "
        f"visual-memory calibrate {info.name}   makes one of this, {LIKE_BEFORE}."
    )


def in_filter(text: str) -> str:
    """Put a label or a metadata key in quotes, as a filter is written."""
    return '"' + re.sub(r'(["\\*])', r"\\\1", text) + '"'


def rule_flags(found: Rule) -> str:
    """Format every parameter of a rule that makes a difference as flags."""
    return terminal.flags({name: getattr(found, name) for name in RULE})


def shown_rule(options: Namespace) -> str:
    """Format the options of a rule that were given as `` (--k 20)``; nothing if none were."""
    given = terminal.flags(rule(options))
    return f" ({given})" if given else ""


def refuse_without(options: Namespace, flag: str, other: str, given: bool) -> None:
    """Raise WrongUsage if ``flag`` is given, but not the ``other`` with which alone it counts."""
    if getattr(options, flag.removeprefix("--").replace("-", "_")) is not None and not given:
        raise WrongUsage(f"argument {flag}: not allowed without argument {other}")


def add_k(parser: ArgumentParser, neighbors: str) -> None:
    """Add --k; ``neighbors`` is a phrase for its help, such as ``neighbours that vote``."""
    parser.add_argument(
        "-k", "--k", metavar="K", type=int, default=50, help=f"{neighbors}; default: 50"
    )
