"""``unlearn`` and ``signing-keys``: erase entries with a certificate; the keys that sign it."""

from __future__ import annotations

import hashlib
import json
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from visual_memory import Client, FailedPrecondition, InvalidArgument, InvalidCertificate, Memory
from visual_memory.terminal.arguments import Commands
from visual_memory.terminal.ending import without_field
from visual_memory.terminal.output import plural, print_json, say
from visual_memory.terminal.progress import Progress
from visual_memory.terminal.refused import Refused, WrongUsage, listed
from visual_memory.types import Operation, UnlearnResult
from visual_memory_service.console import files, server_libraries
from visual_memory_service.console.arguments import (
    add_allow_missing,
    add_apply,
    add_asking,
    add_path,
)
from visual_memory_service.console.interrupted import report_running_operations
from visual_memory_service.console.unlearning import outcome, ram_holds_traces, remaining

if TYPE_CHECKING:
    from visual_memory import Certificate

    Past: TypeAlias = list[tuple[Certificate, list[str]]]  # ids by certificate, the latest first


def add_to(commands: Commands) -> None:
    parser = add_asking(
        commands, "unlearn", unlearn, "delete entries, erase every trace of them, and certify it"
    )
    add_path(parser, "--ids-file", "FILE", "the ids, one a line; -: standard input", required=True)
    add_path(
        parser,
        "--certificate",
        "OUT.json",
        "the file for the certificate; the same ids again get the same one; needed with --apply",
    )
    files.add_force(parser, "the certificate")
    add_allow_missing(parser)
    add_apply(parser)
    parser = add_asking(
        commands,
        "signing-keys",
        signing_keys,
        "list the public keys that verify certificates",
        memory=False,
    )
    on_server = parser.get_default("run")
    folder = parser.add_mutually_exclusive_group()
    add_path(folder, "--data", "DIR", "list those of a data folder, which a server may use")
    add_path(
        folder, "--rotate", "DIR", "make a new signing key in a data folder that no server uses"
    )

    def run(options: Namespace) -> None:
        if options.rotate:
            rotate(options)
        elif options.data:
            signing_keys_of_folder(options)
        else:
            on_server(options)

    parser.set_defaults(run=run)


def unlearn(client: Client, options: Namespace) -> int:
    """Unlearn the entries that a file names and save the certificate; only preview without --apply.

    Ids that were erased before are skipped, so that the same file may be given again. Returns the
    exit code: 1 if the certificate does not cover some of the ids, or not the RAM although it was
    searched. Raises Refused if an id neither is stored nor was erased, unless --allow-missing is
    given.
    """
    if options.apply and not options.certificate:
        raise WrongUsage("the following arguments are required with --apply: --certificate")
    ids = files.read_ids(options.ids_file)
    memory = client.memory(options.name)
    found = memory.unlearn(ids, dry_run=True, allow_missing=True)
    if found.count and options.certificate:
        files.refuse(options.certificate, force=options.force)
    left = not_stored(memory, ids, found)
    past, unknown, unfinished = erased_before(client, options.name, left, client.operation)
    wrong = () if unfinished or options.allow_missing else unknown
    if not options.apply:
        apply = "--apply with --allow-missing" if wrong else "--apply"
        show(found, past, unknown, unfinished, apply, options)
        return 0
    if wrong and (found.count or past):
        raise Refused(
            f"{plural(len(wrong), 'id')} neither stored nor erased before, so nothing was "
            f"erased: {listed(wrong)}; correct the file, or add --allow-missing, which skips "
            "unknown ids."
        )
    with report_running_operations(client, options.name):
        new = certify(memory, ids) if found.count else None
        if new:
            save(new, options)
        left = [id for id in ids if not (new and new.holds(id))]
        past, unknown, unfinished = erased_before(
            client, options.name, left, partial(wait_while_it_goes_on, client)
        )
    if not new and not past:
        none = (
            f"None of the {plural(len(ids), 'id')} is in {memory.name}, and none was unlearned "
            f"there; there is nothing to certify: {listed(ids)}."
        )
        raise Refused(*(map(not_ended, unfinished) if unfinished else [none]))
    certificate = new or past[0][0]
    if not new:
        save(certificate, options)
    report(certificate, ids, found, past, unknown, unfinished, options)
    code = report_not_covered(past if new else past[1:], options)
    for each in unfinished:
        say(not_ended(each), file=sys.stderr)
        code = 1
    if unknown and not options.allow_missing:
        say(*past_sentences([], unknown, unfinished), file=sys.stderr)
        code = 1
    if new and ram_holds_traces(new):
        say(
            "Traces of what was erased were found in the server's RAM again and again, so the "
            "certificate does not cover RAM: restart the server, and note the time with it.",
            file=sys.stderr,
        )
        code = 1
    return code


def report(
    certificate: Certificate,
    ids: list[str],
    found: UnlearnResult,
    past: Past,
    unknown: list[str],
    unfinished: list[Operation],
    options: Namespace,
) -> None:
    """Print which ids the saved certificate covers, and what became of the others."""
    is_new = all(each is not certificate for each, _ in past)
    entries = sum(map(certificate.holds, ids))
    if options.json:
        print_json(
            {
                "memory": options.name,
                "entries": entries,
                **past_json(past, unknown, unfinished),
                "applied": is_new,
                "operation": certificate.operation,
                "certificate": str(options.certificate),
                "signer": certificate.signer,
                "also_in": certificate.also_in,
                "not_asked": found.not_asked,
                "backups": certificate.backups,
            }
        )
        return
    when = "" if is_new else before(certificate)
    others = certificate.count - entries
    beside = f", beside {plural(others, 'other')}" if others > 0 else ""
    count = plural(entries, "entry")
    stays = remaining(options.name, certificate.also_in, certificate.backups, found.not_asked)
    say(
        f"{count} of {options.name} erased{when}{beside}; {outcome(certificate)}.",
        *past_sentences(past if is_new else past[1:], unknown, unfinished),
        f"The certificate is {options.certificate}; visual-memory verify checks it.",
        *(stays if is_new else ()),
    )


def report_not_covered(past: Past, options: Namespace) -> int:
    """Print the ids that the saved certificate does not cover; return the exit code, 0 if none."""
    if not past:
        return 0
    count = sum(len(ids) for _, ids in past)
    names = listed(certificate.operation for certificate, _ in past)
    say(
        f"{options.certificate} does not cover {plural(count, 'id')} of the file, erased before "
        f"by {names}. To get the certificate of one of these, put the ids that it erased into "
        f"a file of their own: visual-memory unlearn {options.name} --ids-file FILE --certificate "
        "OTHER.json --apply",
        file=sys.stderr,
    )
    return 1


def show(
    found: UnlearnResult,
    past: Past,
    unknown: list[str],
    unfinished: list[Operation],
    apply: str,
    options: Namespace,
) -> None:
    """Print what would be erased, what was erased before, and where the same content remains.

    ``apply`` names the flags that erase it.
    """
    if options.json:
        print_json(
            {
                "memory": options.name,
                "entries": found.count,
                **past_json(past, unknown, unfinished),
                "applied": False,
                "also_in": found.also_in,
                "not_asked": found.not_asked,
                "backups": found.backups,
            }
        )
        return
    stays = remaining(options.name, found.also_in, found.backups, found.not_asked)
    say(
        f"{plural(found.count, 'entry')} of {options.name} would be erased for good.",
        *past_sentences(past, unknown, unfinished),
        *stays,
        f"Nothing was changed; {apply} does it.",
    )


def not_stored(memory: Memory, ids: list[str], found: UnlearnResult) -> list[str]:
    """Return the ids that are not stored, of which a dry run ``found`` only the first hundred."""
    if found.unknown_count == len(found.unknown_ids):
        return found.unknown_ids
    stored = {entry.id for entry in memory.entries()} if found.count else ()
    return [id for id in ids if id not in stored]


def erased_before(
    client: Client, memory: str, ids: list[str], get_operation: Callable[[str], Operation]
) -> tuple[Past, list[str], list[Operation]]:
    """Return the latest certificate of each id, with the ids it names, and the ids without one.

    The certificates are in order, the latest first. Also return the erasures that have not ended,
    which may have erased ids without a certificate. ``get_operation`` returns an operation by its
    name, and may wait until it has ended.
    """
    past: Past = []
    unfinished: list[Operation] = []
    for name in [each.name for each in client.operations(memory) if each.kind == "unlearn"]:
        if not ids:
            break
        operation = get_operation(name)
        if operation.state != "done":
            unfinished.append(operation)
        elif isinstance(operation.result, UnlearnResult) and operation.result.count:
            certificate = client.certificate(name)
            if named := list(filter(certificate.holds, ids)):
                past.append((certificate, named))
                ids = sorted(set(ids).difference(named))
    return past, ids, unfinished if ids else []


def wait_while_it_goes_on(client: Client, name: str) -> Operation:
    """Return an operation once it has ended, or as it is if it cannot go on for now."""
    try:
        return client.wait(name)
    except FailedPrecondition:
        return client.operation(name)


def not_ended(erasure: Operation) -> str:
    problem = erasure.problem or "it is under way."
    return f"The erasure {erasure.name} of {erasure.memory} has not ended: {problem}"


def before(certificate: Certificate) -> str:
    return f" before, on {certificate.time:%Y-%m-%d} by {certificate.operation}"


def past_sentences(
    past: Past, unknown: Sequence[str], unfinished: Sequence[Operation]
) -> Iterator[str]:
    """Yield sentences on the ids erased before, by certificate, and on ids without one."""
    for certificate, ids in past:
        yield f"{plural(len(ids), 'id')} erased{before(certificate)}: {listed(ids)}."
    if unknown:
        names = listed(each.name for each in unfinished)
        unless = f", unless by {names}, which has not ended" if unfinished else ""
        yield (
            f"{plural(len(unknown), 'id')} neither stored nor erased before{unless}: "
            f"{listed(unknown)}."
        )


def past_json(
    past: Past, unknown: Sequence[str], unfinished: Sequence[Operation]
) -> dict[str, Any]:
    """Return ids that are not stored, erasures that have not ended, and ids erased before."""
    return {
        "unknown": len(unknown),
        "unknown_ids": unknown,
        "not_ended": [each.name for each in unfinished],
        "erased_before": sum(len(ids) for _, ids in past),
        "erased_by": {certificate.operation: ids for certificate, ids in past},
    }


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


def certify(memory: Memory, ids: list[str]) -> Certificate | None:
    """Unlearn entries; return their certificate, or None if another client has just erased them."""
    certificate = None
    with Progress("steps of erasing", estimate=False) as progress:
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
        if memory.unlearn(ids, dry_run=True, allow_missing=True).count:
            certificate = memory.unlearn(ids, allow_missing=True, progress=progress.reach)
    return certificate


def request_id_for(memory: Memory, ids: list[str]) -> str:
    """Return a request_id that is the same for the same ids of the same memory."""
    text = json.dumps([memory.info().uid, sorted(ids)])
    return f"unlearn-{hashlib.sha256(text.encode()).hexdigest()}"


def signing_keys(client: Client, options: Namespace) -> None:
    """Print the public keys of a server: the current key, then former keys."""
    print_keys(client.server_info().public_keys, options)


def signing_keys_of_folder(options: Namespace) -> None:
    """Print the public keys of a data folder. Raises Refused if it has none, or none is read."""
    server_libraries.need("reading a key")
    from visual_memory_index.errors import FileUnavailable, in_full
    from visual_memory_service.erasure.signing_keys import PRIVATE, BadKey, SigningKeys

    path = options.data / "keys" / PRIVATE
    try:
        path.lstat()
        public_keys = SigningKeys(options.data).public
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}.") from None
    except (BadKey, FileUnavailable) as error:
        raise Refused(in_full(error)) from None
    print_keys(public_keys, options)


def print_keys(public_keys: Sequence[str], options: Namespace) -> None:
    """Print public keys, of which the first signs."""
    keys = [{"public_key": key, "former": key != public_keys[0]} for key in public_keys]
    if options.json:
        print_json(keys)
        return
    for each in keys:
        say(f"{each['public_key']} (former)" if each["former"] else f"{each['public_key']}")


def rotate(options: Namespace) -> None:
    """Make a new key to sign certificates for a data folder; the former key stays published.

    Raises Refused if a server uses the folder, or one of another user has, or a key file cannot be
    read or written.
    """
    server_libraries.need("making a key")
    from visual_memory_index import FolderLock, was_used
    from visual_memory_index.errors import FileUnavailable, FolderInUse, OthersFolder, in_full
    from visual_memory_service.erasure.signing_keys import BadKey, SigningKeys

    if not (options.rotate / "catalog.sqlite").is_file() or not was_used(options.rotate):
        raise Refused(f"{options.rotate} is no data folder that a server has used.")
    try:
        with closing(FolderLock(options.rotate)):
            signing = SigningKeys(options.rotate)
            signing.rotate()
    except (BadKey, FileUnavailable, FolderInUse, OthersFolder) as error:
        raise Refused(in_full(error)) from None
    say(f"{signing.public[0]} signs from now on; the former key stays published.")
