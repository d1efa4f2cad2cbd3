"""``unlearn`` and ``keys``: erase entries with a certificate; list or rotate signing keys."""

from __future__ import annotations

import hashlib
import json
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from visual_memory import Client, FailedPrecondition, InvalidArgument, InvalidCertificate, Memory
from visual_memory.terminal.arguments import Commands
from visual_memory.terminal.ending import without_field
from visual_memory.terminal.output import plural, print_json, say
from visual_memory.terminal.progress import Progress
from visual_memory.terminal.refused import Refused, listed
from visual_memory.types import Operation, UnlearnResult
from visual_memory_service.console import files, server_libraries
from visual_memory_service.console.arguments import add_apply, add_asking, add_path
from visual_memory_service.console.interrupted import report_running_operations
from visual_memory_service.console.unlearning import outcome, remaining

if TYPE_CHECKING:
    from visual_memory import Certificate


def add_to(commands: Commands) -> None:
    parser = add_asking(
        commands, "unlearn", unlearn, "delete entries, erase every trace of them, and certify it"
    )
    add_path(parser, "--ids-file", "FILE", "the ids, one a line; -: standard input", required=True)
    add_path(
        parser,
        "--certificate",
        "OUT.json",
        "the file for the certificate; the same ids again get the same one",
        required=True,
    )
    files.add_force(parser, "the certificate")
    add_apply(parser)
    parser = add_asking(
        commands, "keys", keys, "list the public keys that verify certificates", memory=False
    )
    on_server = parser.get_default("run")
    add_path(
        parser,
        "--rotate",
        "DIR",
        "make a new signing key in a data folder that no server uses",
        dest="data",
    )
    parser.set_defaults(run=lambda options: rotate(options) if options.data else on_server(options))


def unlearn(client: Client, options: Namespace) -> None:
    """Unlearn the entries that a file names and save the certificate; only preview without --apply.

    Ids that are not stored are skipped, so that the same file may be given again.
    """
    ids = files.read_ids(options.ids_file)
    memory = client.memory(options.name)
    found = memory.unlearn(ids, dry_run=True, allow_missing=True)
    if found.count:
        files.refuse(options.certificate, force=options.force)
    if not options.apply:
        show(client, ids, found, options)
        return
    with report_running_operations(client, options.name):
        certificate = (
            certify(client, memory, ids) if found.count else latest_certificate(client, memory, ids)
        )
    save(certificate, options)
    unknown = [id for id in ids if not certificate.holds(id)]
    entries = len(ids) - len(unknown)
    if options.json:
        print_json(
            {
                "memory": options.name,
                "entries": entries,
                "unknown": len(unknown),
                "applied": bool(found.count),
                "operation": certificate.operation,
                "certificate": str(options.certificate),
                "signer": certificate.signer,
                "also_in": certificate.also_in,
                "not_asked": found.not_asked,
                "backups": certificate.backups,
            }
        )
        return
    stays = remaining(options.name, certificate.also_in, certificate.backups, found.not_asked)
    when = "" if found.count else f" before, on {certificate.time:%Y-%m-%d}"
    others = certificate.count - entries
    beside = f", beside {plural(others, 'other')}" if others > 0 else ""
    count = plural(entries, "entry")
    say(
        f"{count} of {options.name} erased{when}{beside}; {outcome(certificate)}.",
        *not_stored(len(unknown), unknown),
        f"The certificate is {options.certificate}; visual-memory verify checks it.",
        *(stays if found.count else ()),
    )


def show(client: Client, ids: list[str], found: UnlearnResult, options: Namespace) -> None:
    """Print what would be erased, what was erased before, and where the same content remains."""
    past = (
        list(certificates_naming(client, options.name, ids, client.operation))
        if found.unknown_count
        else []
    )
    before = sum(any(each.holds(id) for each in past) for id in dict.fromkeys(ids))
    if options.json:
        print_json(
            {
                "memory": options.name,
                "entries": found.count,
                "unknown": found.unknown_count,
                "erased_before": before,
                "applied": False,
                "also_in": found.also_in,
                "not_asked": found.not_asked,
                "backups": found.backups,
            }
        )
        return
    say(
        f"{plural(found.count, 'entry')} of {options.name} would be erased for good.",
        *not_stored(found.unknown_count, found.unknown_ids),
    )
    if before:
        say(f"{plural(before, 'id')} erased before, on {past[0].time:%Y-%m-%d}.")
    stays = remaining(options.name, found.also_in, found.backups, found.not_asked)
    say(*stays, "Nothing was changed; --apply does it.")


def not_stored(count: int, ids: Iterable[str]) -> list[str]:
    """Return a sentence on ``count`` ids that are not stored, with examples ``ids``; [] for 0."""
    return [f"{plural(count, 'id')} not stored, such as {listed(ids)}."] if count else []


def save(certificate: Certificate, options: Namespace) -> None:
    """Save a certificate to the file of --certificate, unless the file holds this one already.

    Raises Refused if the file holds anything else and --force is not given, or cannot be written.
    """
    path = options.certificate
    if path.is_file():
        with suppress(InvalidCertificate):
            if certificate.read(path) == certificate:
                return
    files.refuse(path, force=options.force)
    try:
        certificate.save(path, overwrite=options.force)
    except InvalidArgument as problem:
        raise Refused(
            without_field(problem),
            "The entries are erased; the same command saves their certificate once the file can "
            "be written.",
        ) from None


def certify(client: Client, memory: Memory, ids: list[str]) -> Certificate:
    """Unlearn entries; return their certificate, the earlier one if nothing was left to unlearn."""
    with Progress("steps of erasing") as progress:
        try:
            certificate = memory.unlearn(
                ids,
                allow_missing=True,
                request_id=request_id_for(memory, ids),
                progress=progress.reach,
            )
        except FailedPrecondition as refused:
            if refused.reason != "NO_CERTIFICATE":
                raise
            # Another client has unlearned them meanwhile.
            certificate = latest_certificate(client, memory, ids)
        if memory.unlearn(ids, dry_run=True, allow_missing=True).count:
            certificate = memory.unlearn(ids, allow_missing=True, progress=progress.reach)
    return certificate


def latest_certificate(client: Client, memory: Memory, ids: list[str]) -> Certificate:
    """Return the latest certificate that names one of the ids. Raises Refused if there is none."""
    for certificate in certificates_naming(client, memory.name, ids, client.wait):
        return certificate
    raise Refused(
        f"None of the {plural(len(ids), 'id')} is in {memory.name}, and none was unlearned there; "
        "there is nothing to certify."
    )


def certificates_naming(
    client: Client, memory: str, ids: Sequence[str], get_operation: Callable[[str], Operation]
) -> Iterator[Certificate]:
    """Yield the certificates that name one of the ids, the latest first.

    ``get_operation`` returns an operation by its name, and may wait until it has ended.
    """
    for name in [each.name for each in client.operations(memory) if each.kind == "unlearn"]:
        result = get_operation(name).result
        if isinstance(result, UnlearnResult) and result.count:
            certificate = client.certificate(name)
            if any(map(certificate.holds, ids)):
                yield certificate


def request_id_for(memory: Memory, ids: list[str]) -> str:
    """Return a request_id that is the same for the same ids of the same memory."""
    text = json.dumps([memory.info().uid, sorted(ids)])
    return f"unlearn-{hashlib.sha256(text.encode()).hexdigest()}"


def keys(client: Client, options: Namespace) -> None:
    """Print the public keys of a server: the current key, then former keys."""
    public_keys = client.server_info().public_keys
    if options.json:
        print_json(public_keys)
        return
    for number, key in enumerate(public_keys):
        say(key if number == 0 else f"{key} (former)")


def rotate(options: Namespace) -> None:
    """Make a new key to sign certificates for a data folder; the former key stays published.

    Raises Refused if a server uses the folder, or a key file cannot be read or written.
    """
    server_libraries.need("making a key")
    from visual_memory_index import FolderLock
    from visual_memory_index.errors import FileUnavailable, FolderInUse, in_full
    from visual_memory_service.erasure.signing_keys import BadKey, SigningKeys

    if not (options.data / "catalog.sqlite").is_file():
        raise Refused(f"{options.data} is no data folder of a server: it has no catalog.sqlite.")
    try:
        with closing(FolderLock(options.data)):
            signing = SigningKeys(options.data)
            signing.rotate()
    except (BadKey, FileUnavailable, FolderInUse) as error:
        raise Refused(in_full(error)) from None
    say(f"{signing.public[0]} signs from now on; the former key stays published.")
