"""The command line: which commands there are, and what each may be told."""

from __future__ import annotations

import os
from argparse import (
    ArgumentParser,
    ArgumentTypeError,
    RawDescriptionHelpFormatter,
    _SubParsersAction,
)
from collections.abc import Sequence
from pathlib import Path

from visual_memory._terminal.arguments import (
    SERVER,
    VOTINGS,
    Command,
    add,
    add_json,
    ask_server,
    natural,
    program,
    seconds,
)
from visual_memory_service.commands import (
    audit,
    backup,
    check,
    entries,
    evaluate,
    export,
    hygiene,
    insert,
    memories,
    questions,
    reranker,
    serve,
    suspects,
    unlearn,
    verify,
)
from visual_memory_service.completion import SHELLS, complete
from visual_memory_service.demo import demo

FILTER = 'such as: label = "cat" AND metadata.source = "web"'


def run(arguments: Sequence[str]) -> int:
    """Do what the arguments say; the exit code. Raises Refused, visual_memory.Error."""
    options = build_parser().parse_args(arguments)
    code: int = options.run(options)
    return code


def build_parser() -> ArgumentParser:
    """Every command with its options."""
    parser = program("visual-memory", "Classify images by remembering others.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    add_serve(commands)
    add_memories(commands)
    add_insert_and_export(commands)
    add_backup(commands)
    add_questions(commands)
    add_entries(commands)
    add_hygiene(commands)
    add_audit(commands)
    add_unlearn(commands)
    add_verify(commands)
    add_reranker(commands)
    add_demo(commands)
    add_completion(commands, parser)
    return parser


def add_asking(
    commands: _SubParsersAction[ArgumentParser],
    name: str,
    command: Command,
    help: str,
    *,
    memory: bool = True,
) -> ArgumentParser:
    """A command that asks a server."""
    parser = add(commands, name, help)
    if memory:
        parser.add_argument("name", metavar="NAME", help="the memory")
    ask_server(parser, command)
    add_json(parser)
    return parser


def add_serve(commands: _SubParsersAction[ArgumentParser]) -> None:
    parser = add(commands, "serve", "serve the memories of a folder")
    parser.add_argument("--data", metavar="DIR", help="where the memories are; made if missing")
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
    parser.add_argument(
        "--log-level", choices=serve.LOG_LEVELS, default="info", help="default: info"
    )
    parser.set_defaults(run=serve.serve)


def add_memories(commands: _SubParsersAction[ArgumentParser]) -> None:
    parser = add_asking(commands, "create", memories.create, "make a memory")
    content = parser.add_mutually_exclusive_group()
    content.add_argument("--embedder", metavar="NAME", help="default: efficientnet-lite0")
    content.add_argument(
        "--dimension", metavar="N", type=int, help="for a memory that takes vectors only"
    )
    parser.add_argument(
        "--store-images",
        action="store_true",
        help="keep the pictures as they are sent, with thumbnails",
    )
    add_asking(commands, "list", memories.list_memories, "list all memories", memory=False)
    add_asking(commands, "show", memories.show, "show one memory with its labels")
    add_asking(commands, "drop", memories.drop, "forget a memory with all its entries, at once")


def add_insert_and_export(commands: _SubParsersAction[ArgumentParser]) -> None:
    parser = add_asking(
        commands, "insert", insert.insert, "remember a folder per class, or a Parquet file"
    )
    parser.formatter_class = RawDescriptionHelpFormatter
    parser.description = (
        "Remember a folder per class (the label is the folder's name, the id the path inside\n"
        "FOLDER), or a Parquet file with the columns id, label and vector or image, and perhaps\n"
        "metadata. What is stored with the same content is skipped, so that the same command\n"
        "goes on after an interruption; an id stored with other content is refused."
    )
    parser.add_argument("source", metavar="FOLDER_OR_PARQUET", type=Path)
    parser.add_argument(
        "--replace", action="store_true", help="replace what is stored with other content"
    )
    parser.add_argument(
        "--skip-bad",
        action="store_true",
        help="leave out pictures that do not decode, and exit 1; without it nothing is stored",
    )
    parser = add_asking(commands, "export", export.export, "write a memory to a Parquet file")
    parser.add_argument("file", metavar="FILE.parquet", type=Path)
    parser.add_argument("--force", action="store_true", help="overwrite the file")


def add_backup(commands: _SubParsersAction[ArgumentParser]) -> None:
    parser = add_asking(
        commands, "backup", backup.backup, "write all of a memory to a file, while it serves"
    )
    parser.add_argument("file", metavar="FILE", type=Path)
    parser.add_argument("--force", action="store_true", help="overwrite the file")
    parser = add_asking(
        commands,
        "restore",
        backup.restore,
        "make a backup a memory, without what was unlearned since",
        memory=False,
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="the backup")
    parser.add_argument("name", metavar="NAME", help="the memory to be")
    parser = add_asking(
        commands, "copy", backup.copy, "make a memory that holds what another does now"
    )
    parser.add_argument("new", metavar="NEW", help="the memory to be")


def add_questions(commands: _SubParsersAction[ArgumentParser]) -> None:
    parser = add_asking(commands, "classify", questions.classify, "say what pictures show")
    parser.add_argument("images", metavar="IMAGE", nargs="+", type=Path, help="also a folder")
    add_vote(parser)
    add_reliability(parser)
    add_reranking(parser)
    parser.add_argument(
        "--calibrated",
        action="store_true",
        help="say how often such decisions are right, and whether the picture is like none here",
    )
    parser.add_argument(
        "--coverage",
        metavar="C",
        type=float,
        help="add the labels that hold the right one in this share of all cases, such as 0.9",
    )
    parser.add_argument(
        "--min-confidence",
        metavar="C",
        type=float,
        help="add the deepest node of the taxonomy that has this share of the votes",
    )
    parser.add_argument(
        "--neighbors",
        metavar="N",
        type=int,
        help="how many neighbours to show of each; default: 1, with --json all",
    )
    parser = add_asking(
        commands, "evaluate", evaluate.evaluate, "measure accuracy on a labelled folder"
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="a folder per class")
    add_vote(parser)
    add_reliability(parser)
    add_reranking(parser)
    parser = add_asking(
        commands, "search", questions.search, "find the entries nearest to pictures"
    )
    parser.add_argument("images", metavar="IMAGE", nargs="+", type=Path, help="also a folder")
    parser.add_argument("--k", metavar="K", type=int, default=10, help="neighbours; default: 10")
    parser.add_argument("--filter", metavar="F", help=f"who may be found, {FILTER}")


def add_vote(parser: ArgumentParser) -> None:
    """Who votes, and how."""
    parser.add_argument(
        "--k", metavar="K", type=int, default=50, help="neighbours that vote; default: 50"
    )
    parser.add_argument("--voting", choices=VOTINGS, default="rank", help="default: rank")
    parser.add_argument("--filter", metavar="F", help=f"who may vote, {FILTER}")


def add_reliability(parser: ArgumentParser) -> None:
    """Whether those that mislead count less."""
    parser.add_argument(
        "--reliability",
        choices=("none", "soft"),
        default="none",
        help="soft: the votes of entries that mislead count less; default: none",
    )
    parser.add_argument(
        "--reliability-k",
        metavar="K",
        type=int,
        default=10,
        help="among how many nearest neighbours they mislead; default: 10",
    )


def add_reranking(parser: ArgumentParser) -> None:
    """Who looks at the neighbours again."""
    parser.add_argument(
        "--reranker",
        metavar="NAME",
        help="of this server, which says who of the neighbours counts how much; none: nobody; "
        "default: the memory's",
    )


def add_entries(commands: _SubParsersAction[ArgumentParser]) -> None:
    parser = add_asking(commands, "entries", entries.entries, "list the entries of a memory")
    parser.add_argument("--filter", metavar="F", help=FILTER)
    parser.add_argument("--limit", metavar="N", type=natural, help="stop after so many")
    parser = add_asking(
        commands, "update", entries.update, "change the label or the metadata of an entry"
    )
    parser.add_argument("--id", metavar="ID", required=True)
    parser.add_argument("--label", metavar="LABEL")
    parser.add_argument(
        "--metadata",
        metavar="KEY=VALUE",
        type=pair,
        action="append",
        help="repeatable; together they replace what the entry had",
    )
    parser = add_asking(commands, "delete", entries.delete, "forget entries by id, all or none")
    parser.add_argument("--id", metavar="ID", nargs="+", action="extend", required=True)
    parser.add_argument("--allow-missing", action="store_true", help="skip unknown ids")
    parser = add_asking(commands, "purge", entries.purge, "forget the entries that a filter admits")
    parser.add_argument("--filter", metavar="F", required=True, help=FILTER)
    parser.add_argument(
        "--apply", action="store_true", help="do it; without it only shows what would be deleted"
    )


def add_hygiene(commands: _SubParsersAction[ArgumentParser]) -> None:
    parser = add_asking(
        commands, "prune", hygiene.prune, "take the votes of entries that mislead, until undone"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--method",
        choices=("hard", "prototype", "value", "random"),
        default="hard",
        help="default: hard",
    )
    how.add_argument(
        "--ids-file", metavar="FILE", type=Path, help="prune these ids, one a line, instead"
    )
    parser.add_argument(
        "--k",
        metavar="K",
        type=int,
        default=100,
        help="hard: among how many nearest neighbours entries mislead; default: 100",
    )
    parser.add_argument(
        "--threshold",
        metavar="N",
        type=int,
        default=128,
        help="hard: how often from which on; default: 128",
    )
    parser.add_argument(
        "--minus-correct",
        action="store_true",
        help="hard: count how often an entry helps against how often it misleads",
    )
    parser.add_argument(
        "--fraction",
        metavar="F",
        type=float,
        help="prototype, value, random: how much is pruned, 0 to 1",
    )
    parser.add_argument(
        "--value-k",
        metavar="K",
        type=int,
        default=5,
        help="value: the neighbours whose right labels count; default: 5",
    )
    parser.add_argument(
        "--clusters",
        metavar="N",
        type=int,
        default=0,
        help="prototype: how many prototypes, found without labels; default: a mean for each label",
    )
    parser.add_argument(
        "--keep", choices=("hard", "easy"), default="hard", help="prototype: default: hard"
    )
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="prototype, random")
    add_apply(parser)
    parser = add_asking(
        commands, "relabel", hygiene.relabel, "set the labels that a file gives, until undone"
    )
    parser.add_argument(
        "--from",
        dest="from_file",
        metavar="FILE.csv",
        type=Path,
        required=True,
        help="with the columns id and label; rows without a label are left out",
    )
    add_apply(parser)
    parser = add_asking(
        commands, "suspects", suspects.suspects, "find entries whose labels look wrong"
    )
    parser.add_argument(
        "--k", metavar="K", type=int, default=50, help="neighbours that judge; default: 50"
    )
    parser.add_argument("--voting", choices=VOTINGS, default="rank", help="default: rank")
    parser.add_argument(
        "--thin",
        metavar="N",
        type=int,
        default=5,
        help="labels of fewer entries are not judged; default: 5",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--csv", action="store_true", help="write the suspects as CSV, for relabel --from"
    )
    form.add_argument(
        "--page",
        metavar="FILE.html",
        type=Path,
        help="write a page to look through them, with pictures where the memory keeps them",
    )
    parser.add_argument("--force", action="store_true", help="overwrite the page")
    parser = add_asking(
        commands,
        "calibrate",
        suspects.calibrate,
        "fit confidences, label sets and rejection to the entries as they are",
    )
    parser.add_argument(
        "--k", metavar="K", type=int, default=50, help="neighbours that vote; default: 50"
    )
    parser.add_argument("--voting", choices=VOTINGS, default="rank", help="default: rank")
    parser = add_asking(commands, "undo", hygiene.undo, "take back a prune or a relabel")
    parser.add_argument("operation", metavar="OPERATION")
    parser = add_asking(
        commands,
        "operations",
        hygiene.operations,
        "list long or undoable work, wait for it, or stop it",
        memory=False,
    )
    parser.add_argument("action", metavar="ACTION", choices=("wait", "cancel"), nargs="?")
    parser.add_argument("operation", metavar="ID", nargs="?")
    parser.add_argument("--memory", metavar="NAME", help="list those of one memory")


def add_apply(parser: ArgumentParser) -> None:
    """Do it, or only show it."""
    parser.add_argument("--apply", action="store_true", help="do it; without it only shows it")


def add_audit(commands: _SubParsersAction[ArgumentParser]) -> None:
    parser = add_asking(commands, "audit", audit.audit, "list what was done to a memory")
    parser.add_argument(
        "--limit",
        metavar="N",
        type=natural,
        help=f"show the last N events; default: {audit.SHOWN}, with --json all",
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="say instead whether no event was changed, left out or put in",
    )
    parser = add_asking(
        commands,
        "check",
        check.check,
        "compare entries, vectors, digest and audit log with each other",
        memory=False,
    )
    asked = parser.get_default("run")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("name", metavar="NAME", nargs="?", help="a memory of the server")
    what.add_argument(
        "--data", metavar="DIR", type=Path, help="all memories of a folder that no server uses"
    )
    parser.set_defaults(
        run=lambda options: check.check_folder(options) if options.data else asked(options)
    )


def add_unlearn(commands: _SubParsersAction[ArgumentParser]) -> None:
    parser = add_asking(
        commands, "unlearn", unlearn.unlearn, "erase entries for good, with a certificate"
    )
    parser.add_argument(
        "--ids-file", metavar="FILE", type=Path, required=True, help="the ids, one a line"
    )
    parser.add_argument(
        "--certificate",
        metavar="OUT.json",
        type=Path,
        required=True,
        help="where the certificate goes; the same ids again get the same one",
    )
    parser.add_argument("--force", action="store_true", help="overwrite the certificate")
    add_apply(parser)
    parser = add_asking(
        commands,
        "keys",
        unlearn.keys,
        "list the public keys that certificates are checked with",
        memory=False,
    )
    asked = parser.get_default("run")
    parser.add_argument(
        "--rotate",
        dest="data",
        metavar="DIR",
        type=Path,
        help="have a data folder that no server uses sign with a new key instead",
    )
    parser.set_defaults(
        run=lambda options: unlearn.rotate(options) if options.data else asked(options)
    )


def add_verify(commands: _SubParsersAction[ArgumentParser]) -> None:
    parser = add(commands, "verify", "check a certificate of erasure, without a server or with one")
    parser.add_argument("file", metavar="OUT.json", type=Path, help="the certificate")
    parser.add_argument(
        "--public-key",
        metavar="FILE",
        action="append",
        help="the key that it must be signed by, a file with PEM or hex, or the hex itself; "
        "repeatable: any of them will do",
    )
    parser.add_argument(
        "--server",
        metavar="HOST:PORT",
        help="a key of this server must have signed it, and its audit log must hold the erasure",
    )
    parser.add_argument("--memory", metavar="NAME", help="the memory that it must be of")
    parser.add_argument(
        "--id",
        metavar="ID",
        nargs="+",
        action="extend",
        default=[],
        help="ids that it must be about",
    )
    add_json(parser)
    parser.set_defaults(run=verify.verify)


def add_reranker(commands: _SubParsersAction[ArgumentParser]) -> None:
    parser = add(commands, "reranker", "serve a re-ranker, which a server of memories may ask")
    kinds = parser.add_subparsers(metavar="KIND", required=True)
    parser = add(kinds, "crops", "order candidates by a finer embedder, from closer by")
    parser.add_argument(
        "--embedder",
        metavar="NAME",
        default="efficientnet-lite2",
        help="default: efficientnet-lite2, of the extra lite",
    )
    parser.add_argument(
        "--threads",
        metavar="N",
        type=int,
        default=os.cpu_count() or 1,
        help="that compute; default: one for each core",
    )
    parser.add_argument(
        "--graph-cache",
        metavar="DIR",
        type=Path,
        help="where the network is kept as a graph; default: the user's cache folder",
    )
    parser.add_argument(
        "--vector-cache-mib",
        metavar="N",
        type=natural,
        default=256,
        help="RAM for the vectors of candidates, which come again; 0 keeps none; default: 256",
    )
    parser.set_defaults(run=reranker.crops)
    parser = add(kinds, "chat", "ask a server with the chat-completions API and image input")
    parser.add_argument(
        "--url",
        metavar="BASE",
        required=True,
        help="what comes before /chat/completions, such as http://127.0.0.1:8080/v1; "
        "its key, if it wants one, is taken from $VISUAL_MEMORY_CHAT_KEY",
    )
    parser.add_argument("--model", metavar="NAME", required=True, help="as the server names it")
    parser.add_argument(
        "--candidates",
        metavar="N",
        type=int,
        default=10,
        help="how many of the nearest it looks at; the others keep their places; default: 10",
    )
    parser.add_argument(
        "--chat-timeout",
        metavar="SECONDS",
        type=seconds,
        default=30.0,
        help="for one answer of it, or less where the call has less left; default: 30",
    )
    parser.set_defaults(run=reranker.chat)
    for each in kinds.choices.values():
        each.add_argument(
            "--listen",
            metavar="HOST:PORT",
            default="127.0.0.1:50061",
            help="default: 127.0.0.1:50061; port 0 is any free one",
        )
        each.add_argument(
            "--log-level", choices=serve.LOG_LEVELS, default="info", help="default: info"
        )


def add_demo(commands: _SubParsersAction[ArgumentParser]) -> None:
    parser = add(
        commands, "demo", "show learning and forgetting on pictures, with a server of its own"
    )
    parser.add_argument(
        "--images",
        metavar="FOLDER",
        type=Path,
        help="your pictures, a folder per class; default: Caltech-101, or digits without a network",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        default=Path("demo-output"),
        help="where demo.html goes; default: demo-output",
    )
    parser.set_defaults(run=demo)


def add_completion(commands: _SubParsersAction[ArgumentParser], whole: ArgumentParser) -> None:
    parser = add(commands, "completion", "print a completion script for a shell")
    parser.add_argument("shell", choices=SHELLS)
    parser.set_defaults(run=lambda options: complete(options, whole))


def pair(text: str) -> tuple[str, str]:
    """``KEY=VALUE``."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise ArgumentTypeError(f"must be KEY=VALUE, but is {text!r}")
    return key, value
