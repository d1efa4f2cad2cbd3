"""``verify``: check an unlearning certificate, without a server or with one."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import visual_memory
from visual_memory import NotFound
from visual_memory.terminal.arguments import Commands, add, add_connection, add_json, connect
from visual_memory.terminal.output import plural, print_json, print_table, printable, say
from visual_memory.terminal.refused import Refused, listed
from visual_memory_service.console.arguments import add_path
from visual_memory_service.console.unlearning import exception_clause, holders, ram_clause

if TYPE_CHECKING:
    from visual_memory import Memory, Verification

ERASED_FROM = MappingProxyType(
    {
        "files": "files alone, not from the RAM of the server's process",
        "files+memory": "files and the RAM of the server's process",
    }
)


def add_to(commands: Commands) -> None:
    parser = add(
        commands, "verify", "check an unlearning certificate, without a server or with one"
    )
    add_path(parser, "file", "OUT.json", "the certificate")
    parser.add_argument(
        "--public-key",
        metavar="FILE",
        action="append",
        help="the key that must have signed it: a file with PEM or hex, or the hex itself; "
        "repeatable: any of them",
    )
    to = parser.add_argument_group("connection")
    to.add_argument(
        "--server",
        metavar="HOST:PORT",
        help="check that a key of this server signed it, and that its audit log has the erasure",
    )
    add_connection(to)
    parser.add_argument("--memory", metavar="NAME", help="the memory that it must name")
    parser.add_argument(
        "--id", metavar="ID", nargs="+", action="extend", default=[], help="ids that it must cover"
    )
    add_json(parser)
    parser.set_defaults(run=verify)


def verify(options: Namespace) -> None:
    """Check a certificate, and print its content and which of the ids of --id it covers.

    Raises InvalidCertificate if the check fails, Refused if it does not cover one of these ids.
    """
    keys = options.public_key and [named_key(each) for each in options.public_key]
    if options.server:
        with connect(options) as client:
            found = client.verify(options.file, keys, memory=options.memory)
            again: list[str] | None = there_again(client.memory(found.memory), found, options.id)
    else:
        found = visual_memory.verify(options.file, keys, memory=options.memory)
        again = None
    covered = {id: found.holds(id) for id in options.id}
    if options.json:
        there = {} if again is None else {"there_again": again}
        print_json(as_json(found) | {"ids": covered} | there)
    else:
        entries, time = plural(found.count, "entry"), printable(found.time)
        say(f"The certificate is whole. Erased at {time} UTC: {entries} of {found.memory}.")
        if covered:
            say("")
            rows = [(id, "yes" if yes else "no") for id, yes in covered.items()]
            print_table(("id", "erased"), rows)
            say("")
        if again:
            one = "An entry of this id is" if len(again) == 1 else "Entries of these ids are"
            say(f"{one} there again, inserted since: {listed(again)}.", "")
        print_verification(found, options.server)
    if missing := [id for id, is_covered in covered.items() if not is_covered]:
        raise Refused(f"The certificate is not about these ids: {listed(missing)}.")


def named_key(given: str) -> bytes:
    """Return the 32 bytes of a key of --public-key. Raises InvalidArgument, which names it."""
    from visual_memory.files import SECRET
    from visual_memory.proofs.keys import to_key

    return to_key(given, "--public-key" if SECRET.search(given) else f"--public-key {given[:80]}")


def there_again(memory: Memory, found: Verification, ids: Sequence[str]) -> list[str]:
    """Return the ``ids`` that the certificate covers and that are stored again."""
    again = []
    for id in filter(found.holds, dict.fromkeys(ids)):
        with suppress(NotFound):
            again.append(memory.get(id).id)
    return again


def as_json(found: Verification) -> dict[str, Any]:
    """Return a certificate without salt and commitments as JSON values."""
    fields = asdict(replace(found, commitments=()))
    del fields["salt"], fields["commitments"]
    return fields | {"found": 0}


def print_verification(found: Verification, server: str | None) -> None:
    """Print a verified certificate as sentences and tables.

    ``server`` is the address of the server whose audit log holds the certificate, or None if no
    server was called.
    """
    if server:
        say(
            f"It is signed by the key {found.public_key} of the server {server},",
            f"whose audit log holds it as event {found.audit_index} and leads to {found.memory} "
            "as it is.",
        )
    elif found.trusted:
        say(f"It is signed by the key {found.public_key}, which is one that you gave.")
    else:
        say(
            f"It is signed by the key {found.public_key}, with the fingerprint {found.signer}.",
            "Anybody can sign with a key of their own: look whether this is one that visual-memory "
            "signing-keys prints, or add --public-key FILE.",
        )
    print_table(
        ("", ""),
        [
            ("memory", f"{found.memory}, {found.memory_uid}"),
            ("operation", found.operation),
            ("digest before", found.digest_before),
            ("digest after", found.digest_after),
            ("audit log", f"event {found.audit_index}, {found.audit_event}"),
            ("its root", found.audit_root),
            ("release", found.server),
            *([("erased from", ERASED_FROM[found.erasure])] if found.erasure else ()),
            *([("erasure ended", f"{printable(found.end_time)} UTC")] if found.end_time else ()),
        ],
    )
    if found.searched:
        traces = plural(found.looked_for, "trace")
        exception = exception_clause(found)
        say("", f"{traces} looked for afterwards, and none found{exception} in:")
        print_table(("where", "bytes"), [(each.where, each.bytes) for each in found.searched])
        if clause := ram_clause(found):
            say(f"{clause[0].upper()}{clause[1:]}.")
    else:
        say("", "Nothing was looked for afterwards.")
    say("", "Not covered:")
    for sentence in found.not_covered:
        say(f"- {sentence}")
    if found.also_in:
        held = holders(found.memory, found.also_in)
        say(f"- What was erased was also in {held}, and stayed there.")
    for backup in found.backups:
        say(f"- A backup of {printable(backup)} UTC may hold what was erased.")
