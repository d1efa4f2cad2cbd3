"""``unlearn`` and ``keys``: entries are erased with proof; which keys sign the proof."""

from __future__ import annotations

import hashlib
import json
from argparse import Namespace
from pathlib import Path

from visual_memory import Client, Memory
from visual_memory_service.commands.output import plural, print_json
from visual_memory_service.commands.progress import Progress
from visual_memory_service.commands.refused import Refused

IDS_MAX = 1_000_000
SHOWN = 10


def unlearn(client: Client, options: Namespace) -> int:
    """Erase the entries whose ids a file names, and save the certificate; show it without --apply.

    Ids that are not stored are left out, so that the same file may come again.
    """
    ids = read_ids(options.ids_file)
    if options.certificate.exists() and not options.force:
        raise Refused(f"{options.certificate} exists already; use --force to overwrite it.")
    memory = client.memory(options.name)
    found = memory.unlearn(ids, dry_run=True, allow_missing=True)
    if not options.apply:
        if options.json:
            print_json(
                {
                    "memory": options.name,
                    "entries": found.count,
                    "unknown": found.unknown_count,
                    "applied": False,
                }
            )
            return 0
        print(f"{plural(found.count, 'entry')} of {options.name} would be erased for good.")
        if found.unknown_count:
            shown = ", ".join(found.unknown_ids[:SHOWN])
            print(f"{plural(found.unknown_count, 'id')} not stored, such as {shown}.")
        print("Nothing was changed; --apply does it.")
        return 0
    with Progress(0, "entries erased") as progress:
        certificate = memory.unlearn(
            ids, allow_missing=True, request_id=named(memory, ids), progress=progress.reach
        )
        if memory.unlearn(ids, dry_run=True, allow_missing=True).count:  # inserted again since
            certificate = memory.unlearn(ids, allow_missing=True, progress=progress.reach)
    certificate.save(options.certificate, overwrite=options.force)
    if options.json:
        print_json(
            {
                "memory": options.name,
                "entries": certificate.count,
                "unknown": len(ids) - certificate.count,
                "applied": True,
                "operation": certificate.operation,
                "certificate": str(options.certificate),
                "signer": certificate.signer,
            }
        )
        return 0
    places = ", ".join(f"{place.where} ({place.bytes:,} bytes)" for place in certificate.searched)
    print(
        f"{plural(certificate.count, 'entry')} of {options.name} erased; nothing was found in "
        f"{places}.\nThe certificate is {options.certificate}; visual-memory verify checks it."
    )
    return 0


def named(memory: Memory, ids: list[str]) -> str:
    """A request_id by which the same ids, asked for again, get the same certificate."""
    text = json.dumps([memory.info().uid, sorted(ids)])
    return f"unlearn-{hashlib.sha256(text.encode()).hexdigest()}"


def read_ids(path: Path) -> list[str]:
    """The ids of a file, one a line, each once. Raises Refused."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise Refused(f"{path} is no text in UTF-8; wanted is one id a line.") from None
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}.") from None
    ids = list(dict.fromkeys(line for line in text.splitlines() if line))
    if not ids:
        raise Refused(f"{path} names no id; wanted is one id a line.")
    if "\0" in text:
        raise Refused(f"{path} is no text; wanted is one id a line.")
    if len(ids) > IDS_MAX:
        raise Refused(f"{path} names {len(ids):,} ids; at most {IDS_MAX:,} are erased at once.")
    return ids


def keys(client: Client, options: Namespace) -> int:
    """The public keys of a server: the one that signs now, then the former ones."""
    public_keys = client.server_info().public_keys
    if options.json:
        print_json(public_keys)
        return 0
    for number, key in enumerate(public_keys):
        print(key if number == 0 else f"{key} (former)")
    return 0


def rotate(options: Namespace) -> int:
    """Sign with a new key from now on. Raises Refused while a server has the folder."""
    from visual_memory_index import DiskFull, FolderInUse
    from visual_memory_index.catalog import LockFile
    from visual_memory_service.keys import BadKey, SigningKeys

    if not options.data.is_dir():
        raise Refused(f"There is no data folder {options.data}.")
    try:
        lock = LockFile(options.data / "server.lock")
    except FolderInUse as error:
        raise Refused(str(error)) from None
    try:
        signing = SigningKeys(options.data)
        signing.rotate()
    except (BadKey, DiskFull) as error:
        raise Refused(str(error)) from None
    finally:
        lock.close()
    print(f"{signing.public[0]} signs from now on; the former key stays published.")
    return 0
