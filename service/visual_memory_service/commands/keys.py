"""``keys``: make, list, revoke and rotate the keys of callers in a data folder."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from visual_memory.scopes import SCOPES
from visual_memory.terminal.arguments import Commands, add, add_json
from visual_memory.terminal.output import print_json, print_table, say
from visual_memory.terminal.refused import Refused
from visual_memory_service.console import server_libraries
from visual_memory_service.console.arguments import add_path
from visual_memory_service.console.files import no_data_folder

if TYPE_CHECKING:
    from visual_memory_service.access.keys import Key

HOURS_MAX = 24 * 365


def add_to(commands: Commands) -> None:
    kinds = add(
        commands, "keys", "make, list, revoke or rotate the keys of callers"
    ).add_subparsers(metavar="ACTION", required=True)
    parser = add_action(kinds, "create", create, "make a key, and print it: it is not shown again")
    parser.add_argument("name", metavar="NAME", help="the caller, as the audit log names it")
    parser.add_argument(
        "--scope",
        choices=SCOPES,
        action="append",
        required=True,
        help="which calls it permits: read asks; write also changes entries, labels and who votes; "
        "erase unlearns and gets certificates; admin does everything; needed, repeatable",
    )
    parser.add_argument(
        "--memory",
        metavar="PATTERN",
        action="append",
        default=[],
        help="a memory that it is for, perhaps with * and ?; repeatable; default: all",
    )
    parser.add_argument(
        "--expires",
        metavar="TIME",
        type=time,
        help="when it ends, such as 2027-01-31 or 2027-01-31T12:00+01:00; default: never",
    )
    add_limit(parser)
    parser.add_argument(
        "--by-certificate",
        action="store_true",
        help="make no secret: the caller is who has a certificate for NAME, of a CA that serve "
        "--tls-client-ca names",
    )
    parser = add_action(kinds, "list", list_keys, "list all keys, without their secrets")
    add_json(parser)
    parser = add_action(kinds, "revoke", revoke, "have a key count no longer")
    parser.add_argument("name", metavar="NAME", help="the key")
    parser = add_action(kinds, "limit", limit, "exchange the limits of a key")
    parser.add_argument("name", metavar="NAME", help="the key")
    add_limit(parser)
    parser = add_action(kinds, "rotate", rotate, "give a key a new secret, and print it")
    parser.add_argument("name", metavar="NAME", help="the key")
    parser.add_argument(
        "--former-hours",
        metavar="HOURS",
        type=hours,
        default=0.0,
        help="how long the former secret counts beside the new one; default: 0",
    )


def add_action(
    kinds: Commands, name: str, act: Callable[[Namespace], None], help: str
) -> ArgumentParser:
    """Add an action on the keys of a data folder, which a server may use meanwhile."""
    parser = add(kinds, name, help)
    add_path(parser, "--data", "DIR", "the data folder, which a server may use", required=True)

    def run(options: Namespace) -> None:
        server_libraries.need("a key")
        if act is not create:
            check_data(options.data)
        act(options)

    parser.set_defaults(run=run)
    return parser


def check_data(folder: Path) -> None:
    """Raise Refused unless a server has used a folder, or a key was made there."""
    from visual_memory_index import API_KEYS, NEEDS_KEYS, was_used

    try:
        if not folder.is_dir():
            raise Refused(f"{folder} is not there: --data names the data folder of a server.")
        had_keys = any((folder / each).exists() for each in (API_KEYS, NEEDS_KEYS))
        if not had_keys and not was_used(folder):
            raise Refused(
                f"{folder} is no data folder of a server: none has used it, and it has no keys; "
                "--data names the data folder of a server."
            )
    except OSError as error:
        raise Refused(f"{folder} cannot be read: {error.strerror}.") from None


def add_limit(parser: ArgumentParser) -> None:
    """Add --limit."""
    parser.add_argument(
        "--limit",
        metavar="NAME=NUMBER",
        action="append",
        default=[],
        help="what its calls may use, such as calls=32 or bytes_per_second=1e7; repeatable; "
        "default: as the server's key_limits",
    )


def create(options: Namespace) -> None:
    """Make a key and print it, in a data folder that is made if it is missing. Raises Refused."""
    from visual_memory_index import check_folder
    from visual_memory_index.errors import MemoryRefusal, in_full
    from visual_memory_service.access import keys

    try:
        is_new = not options.data.exists()
        check_folder(options.data)
    except MemoryRefusal as error:
        raise Refused(in_full(error)) from None
    except OSError as error:
        raise Refused(no_data_folder(options.data, error)) from None
    text, secret = keys.new_secret()
    made = keys.Key(
        options.name,
        tuple(options.scope),
        tuple(options.memory),
        created=now(),
        expires=options.expires,
        limits=limits_of(options),
        secrets=() if options.by_certificate else (secret,),
    )
    change(options, lambda known: keys.create(known, made), anew=True)
    if is_new:
        say(f"{options.data} was not there: the folder is new.", file=sys.stderr)
    if options.by_certificate:
        say(f"A caller with a certificate for {options.name} has the key from now on.")
    else:
        print(text)


def list_keys(options: Namespace) -> None:
    """Print all keys without their secrets. Raises Refused."""
    from visual_memory_service.access.key_file import BadKeyFile, KeyFile

    try:
        found = KeyFile(options.data).read()
    except BadKeyFile as error:
        raise Refused(str(error)) from None
    if options.json:
        print_json([as_json(key) for key in found])
        return
    headers = ("name", "scopes", "memories", "limits", "created (UTC)", "expires (UTC)", "state")
    print_table(headers, [as_row(key) for key in found])


def revoke(options: Namespace) -> None:
    """Have a key count no longer. Raises Refused."""
    from visual_memory_service.access import keys

    change(options, lambda known: keys.revoke(known, options.name, now()))
    say(f"{options.name} is revoked; its calls are refused from now on.")


def limit(options: Namespace) -> None:
    """Exchange the limits of a key. Raises Refused."""
    from visual_memory_service.access import keys

    limits = limits_of(options)
    change(options, lambda known: keys.limit(known, options.name, limits))
    say(f"{options.name} has {as_text(limits) or 'the limits of the server'} from now on.")


def limits_of(options: Namespace) -> dict[str, float]:
    """Return the limits that were given. Raises Refused."""
    from visual_memory_service.access.limits import BadLimit, parse_limits

    try:
        return parse_limits(options.limit)
    except BadLimit as problem:
        raise Refused(f"--limit {problem}.") from None


def as_text(limits: Mapping[str, float]) -> str:
    """Return limits as they are given."""
    return ", ".join(f"{name}={number:g}" for name, number in limits.items())


def rotate(options: Namespace) -> None:
    """Give a key a new secret and print it. Raises Refused."""
    from visual_memory_service.access import keys

    text, secret = keys.new_secret()
    began = now()
    rotated = partial(
        keys.rotate,
        name=options.name,
        secret=secret,
        former_until=began + timedelta(hours=options.former_hours),
        now=began,
    )
    change(options, rotated)
    print(text)


def change(
    options: Namespace, by: Callable[[Sequence[Key]], Sequence[Key]], *, anew: bool = False
) -> None:
    """Change the keys of a folder, ``anew`` also where their file is gone. Raises Refused."""
    from visual_memory_index.errors import FileUnavailable, in_full
    from visual_memory_service.access.key_file import BadKeyFile, KeyFile
    from visual_memory_service.access.keys import KeyRefused

    try:
        KeyFile(options.data).change(by, anew=anew)
    except BadKeyFile as error:
        raise Refused(str(error)) from None
    except KeyRefused as error:
        raise Refused(f"{error} The data folder is {options.data}.") from None
    except FileUnavailable as error:
        raise Refused(in_full(error)) from None
    except OSError as error:
        raise Refused(f"{options.data} cannot be written: {error.strerror}.") from None


def as_json(key: Key) -> dict[str, object]:
    """Return what may be shown of a key."""
    return {
        "name": key.name,
        "scopes": key.scopes,
        "memories": key.memories,
        "created": key.created,
        "expires": key.expires,
        "revoked": key.revoked,
        "limits": dict(key.limits),
        "by_certificate": not key.secrets,
        "former_until": former_until(key),
        "state": state_of(key),
    }


def as_row(key: Key) -> tuple[str, ...]:
    """Return what may be shown of a key as a row of the table."""
    created, expires, until = map(shown_time, (key.created, key.expires, former_until(key)))
    state = f"{state_of(key)}, the former too until {until}" if until else state_of(key)
    return (
        key.name,
        ", ".join(key.scopes),
        ", ".join(key.memories),
        as_text(key.limits),
        created,
        expires,
        state,
    )


def shown_time(time: datetime | None) -> str:
    """Return a time of UTC as the table has it; nothing for None."""
    return "" if time is None else time.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def state_of(key: Key) -> str:
    """Return whether a key counts."""
    if key.revoked is not None:
        return "revoked"
    return "expired" if key.expires is not None and key.expires <= now() else "valid"


def former_until(key: Key) -> datetime | None:
    """Return until when a former secret of a valid key counts, None if none does."""
    ends = [each.until for each in key.secrets if each.until is not None and each.until > now()]
    return max(ends) if ends and state_of(key) == "valid" else None


def now() -> datetime:
    """Return the time, of UTC, in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


def time(text: str) -> datetime:
    """Parse a date or a time; of UTC, unless it says otherwise. Raises ArgumentTypeError."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(
            f"must be a date or a time as in ISO 8601, such as 2027-01-31, but is {text!r:.80}"
        ) from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def hours(text: str) -> float:
    """Parse a number of hours. Raises ArgumentTypeError or ValueError."""
    value = float(text)
    if not 0 <= value <= HOURS_MAX:
        raise ArgumentTypeError(f"must be from 0 to {HOURS_MAX}, but is {text}")
    return value
