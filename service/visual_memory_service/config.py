"""Settings of a server, as one record.

Flags override environment variables, which override a TOML file, which overrides defaults.
"""

from __future__ import annotations

import math
import os
import re
from argparse import ArgumentError, ArgumentParser
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, TypeAlias

Erasure: TypeAlias = Literal["files", "files+memory"]
Originals: TypeAlias = Literal["ram", "disk"]
Device: TypeAlias = Literal["auto", "cpu", "cuda"]
FILES: Final = "files"
FILES_AND_MEMORY: Final = "files+memory"
ERASURES = (FILES, FILES_AND_MEMORY)
RAM: Final = "ram"
ORIGINALS = (RAM, "disk")
CPU: Final = "cpu"
CUDA: Final = "cuda"
DEVICES = ("auto", CPU, CUDA)
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("json", "text")
MEBIBYTE = 1 << 20
CHOICES = MappingProxyType(
    {
        "erasure": ERASURES,
        "originals": ORIGINALS,
        "device": DEVICES,
        "log_level": LOG_LEVELS,
        "log_format": LOG_FORMATS,
    }
)
ENVIRONMENT = "VISUAL_MEMORY_SERVE_"  # before the name of a setting in capitals
CONFIG = f"{ENVIRONMENT}CONFIG"  # names the TOML file
PUBLIC = ("server-info", "reflection")
RERANKER = re.compile(r"([a-z0-9][a-z0-9._-]{0,62})=[^=/\s]+:(\d{1,5})", re.ASCII)
ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:\d{1,5})?", re.ASCII)
PORT_MAX = 65_535
INT32_MAX = (1 << 31) - 1
BEGIN_OF_PEM = "-----BEGIN "
NO_VARIABLES: Mapping[str, str] = MappingProxyType({})
# Upper limits are those of numbers in protobuf or gRPC, or for pixels that of Pillow itself.
RANGES = MappingProxyType(
    {
        "threads": (1, 4096),
        "message_bytes_max": (MEBIBYTE, INT32_MAX // 2),
        "image_bytes_max": (1, INT32_MAX),
        "image_pixels_max": (1, 89_478_485),
        "items_max": (1, INT32_MAX),
        "neighbors_max": (1, INT32_MAX),
        "calls_max": (1, INT32_MAX),
        "connection_calls_max": (1, INT32_MAX),
        "connections_max": (1, INT32_MAX),
        "pending_bytes_max": (1, 1 << 40),
        "idle_seconds": (1, 86_400),
        "drain_seconds": (0, 86_400),
        "slow_seconds": (0, math.inf),
    }
)


class BadSetting(Exception):
    """A setting that cannot be used; the message says which, and what it must be."""


class NoDataFolder(BadSetting):
    """Settings in which neither a flag nor the settings file names the data folder."""

    def __init__(self) -> None:
        super().__init__(
            f"No data folder was given; use --data DIR, {ENVIRONMENT}DATA, or --config FILE.toml "
            "with data in it."
        )


class Kind(NamedTuple):
    """A kind of setting: how it is said, of which ``types`` in TOML, and parsed from a text."""

    said: str
    types: tuple[type, ...]
    parse: Callable[[str], Any]


PATH = Kind("a text in quotes", (str,), str)
TEXT = Kind("a text in quotes", (str,), str)
LIST = Kind(
    'a list of texts, such as ["a", "b"]', (list,), lambda text: re.findall(r"[^,\s]+", text)
)
SWITCH = Kind("true or false", (bool,), lambda text: {"true": True, "false": False}[text.lower()])
WHOLE = Kind("a whole number", (int,), int)
NUMBER = Kind("a number", (int, float), float)
OF_TYPES = MappingProxyType(  # as the fields below are annotated, without None
    {
        "Path": PATH,
        "tuple[str, ...]": LIST,
        "bool": SWITCH,
        "int": WHOLE,
        "float": NUMBER,
        **dict.fromkeys(("str", "Erasure", "Originals", "Device"), TEXT),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Limits on concurrent calls, connections and bytes, and on seconds of idling and draining."""

    calls_max: int = 512
    connection_calls_max: int = 100
    connections_max: int = 1000
    message_bytes_max: int = 64 * MEBIBYTE
    pending_bytes_max: int = 512 * MEBIBYTE
    idle_seconds: float = 300.0
    drain_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Settings(Bounds):
    """Settings that a server reads once at its start, named as in the TOML file.

    Each ``reranker`` is ``NAME=HOST:PORT``. If ``erasure`` includes memory, unlearning also erases
    from the RAM of the process, and all freed memory is overwritten. ``originals`` says where the
    vectors of memories are kept: in RAM, or in their files alone. The ``device`` embeds and scans:
    the processor, or a GPU ("cuda"), or where there is one the GPU ("auto").

    What is ``public`` is answered to callers without a key. Each key has the ``key_limits``, but
    for those that it names itself. With ``allow_anyone`` a server without keys may listen where
    other machines reach it. The ``tls_`` files are PEM: the server's certificate with its chain,
    its private key, and the CAs of client certificates, which are then required. Calls that take
    ``slow_seconds`` are logged with what they spent their time on. JSON over HTTP is served at
    ``http_listen`` and metrics at ``metrics_listen``, HOST:PORT; pages of ``http_origins`` may call
    by HTTP. Traces are sent to the OTLP endpoint ``traces_to``, a URL. The log is JSON lines, or
    text for people.
    """

    data: Path
    listen: str = "127.0.0.1:50051"
    allow_embedder: tuple[str, ...] = ()
    reranker: tuple[str, ...] = ()
    public: tuple[str, ...] = ()
    key_limits: tuple[str, ...] = ("calls=128", "streams=32")
    allow_anyone: bool = False
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    slow_seconds: float = 5.0
    http_listen: str | None = None
    http_origins: tuple[str, ...] = ()
    metrics_listen: str | None = None
    traces_to: str | None = None
    erasure: Erasure = FILES_AND_MEMORY
    originals: Originals = RAM
    device: Device = CPU
    threads: int = os.cpu_count() or 1
    image_bytes_max: int = 32 * MEBIBYTE
    image_pixels_max: int = 64_000_000
    items_max: int = 10_000
    neighbors_max: int = 1_000_000
    log_level: str = "info"
    log_format: str = "json"

    def __post_init__(self) -> None:
        for name, (least, most) in RANGES.items():
            value = getattr(self, name)
            if value < least:
                raise BadSetting(f"{name} must be at least {least}.")
            if not value <= most:  # also refuses nan
                raise BadSetting(f"{name} must be at most {most}.")
        for name, choices in CHOICES.items():
            if (chosen := getattr(self, name)) not in choices:
                *others, last = (f'"{choice}"' for choice in choices)
                raise BadSetting(
                    f'{name} must be {", ".join(others)} or {last}, but is "{chosen}".'
                )
        if self.device == CUDA and self.originals != RAM:
            raise BadSetting('device = "cuda" needs originals = "ram": a GPU holds the vectors.')
        for name in self.public:
            if name not in PUBLIC:
                raise BadSetting(f'public must be of {", ".join(PUBLIC)}, but is "{name}".')
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise BadSetting("tls_certificate and tls_key belong together; one of them is missing.")
        if self.traces_to is not None and not self.traces_to.startswith(("http://", "https://")):
            raise BadSetting(
                f'traces_to must be a URL of http or https, but is "{self.traces_to}".'
            )
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise BadSetting("tls_client_ca needs tls_certificate and tls_key.")
        for origin in self.http_origins:
            if not ORIGIN.fullmatch(origin):
                raise BadSetting(
                    "http_origins must be such as https://example.org or http://localhost:3000, "
                    f'but one is "{origin}".'
                )
        taken: dict[str, str] = {}
        for name, address in self.addresses.items():
            if address in taken and not address.endswith(":0"):
                raise BadSetting(
                    f"{taken[address]} and {name} must be different addresses, but are {address}."
                )
            taken[address] = name
        names = set[str]()
        for text in self.reranker:
            found = RERANKER.fullmatch(text)
            if not found or found[1] == "none" or not 0 < int(found[2]) <= PORT_MAX:
                raise BadSetting(
                    f'reranker must be NAME=HOST:PORT, where NAME is not "none" and PORT 1 to '
                    f'{PORT_MAX}, but is "{text}".'
                )
            if found[1] in names:
                raise BadSetting(f'reranker names "{found[1]}" twice; each needs its own name.')
            names.add(found[1])

    @property
    def addresses(self) -> dict[str, str]:
        """Map the name of each setting that says where to listen to its HOST:PORT."""
        named = ("listen", "http_listen", "metrics_listen")
        return {name: getattr(self, name) for name in named if getattr(self, name) is not None}

    @property
    def rerankers(self) -> dict[str, str]:
        """Map the name of each re-ranker to its address."""
        return dict(text.split("=", 1) for text in self.reranker)


KINDS = MappingProxyType(
    {field.name: OF_TYPES[str(field.type).removesuffix(" | None")] for field in fields(Settings)}
)


def variable_of(name: str) -> str:
    """Return the environment variable of a setting."""
    return f"{ENVIRONMENT}{name.upper()}"


VARIABLES = (CONFIG, *map(variable_of, KINDS))


def to_settings(
    flags: Mapping[str, Any], file: Path | None, environment: Mapping[str, str] = NO_VARIABLES
) -> Settings:
    """Merge settings: ``flags`` override ``environment``, which overrides ``file``.

    Raises BadSetting.
    """
    named = to_path(environment.get(CONFIG))
    if file is None and named is not None:
        try:
            in_file = read(named)
        except BadSetting as problem:
            raise BadSetting(f"{CONFIG}: {problem}") from None
    else:
        in_file = read(file) if file else {}
    values = {**in_file, **in_environment(environment), **flags}
    if "data" not in values:
        raise NoDataFolder
    for name in values:
        if KINDS[name] is PATH:
            if not str(values[name]) or "\0" in str(values[name]):
                kind = "folder" if name == "data" else "file"
                raise BadSetting(f"{name} must name a {kind}, but is {str(values[name])!r}.")
            if BEGIN_OF_PEM in str(values[name]):
                raise BadSetting(
                    f"{name} must name a file or folder, but is what such a file holds."
                )
            values[name] = Path(values[name])
        elif KINDS[name] is LIST:
            values[name] = tuple(values[name])
    return Settings(**values)


def to_path(text: str | None) -> Path | None:
    """Return a path; None for an empty text."""
    return Path(text) if text else None


def in_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings that environment variables have. Raises BadSetting.

    An empty variable sets nothing, and lists are separated by commas or spaces.
    """
    values = dict[str, Any]()
    for variable, text in environment.items():
        if not variable.startswith(ENVIRONMENT) or variable == CONFIG or not text:
            continue
        name = variable.removeprefix(ENVIRONMENT).lower()
        if name not in KINDS:
            meant, known = nearest(name, KINDS, variable_of), ", ".join(sorted(VARIABLES))
            raise BadSetting(f"{variable} names no setting{meant}; known are {known}.")
        kind = KINDS[name]
        try:
            values[name] = kind.parse(text)
        except (KeyError, ValueError):
            raise BadSetting(f'{variable} must be {kind.said}, but is "{text}".') from None
    return values


def early_erasure(arguments: Sequence[str], environment: Mapping[str, str] = NO_VARIABLES) -> str:
    """Read the ``erasure`` setting of ``serve``, before its parser is loaded.

    Invalid arguments and files give the default; the command refuses them later. A settings file
    that is a pipe gives the default too, because it can be read only once.
    """
    parser = ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("--erasure")
    parser.add_argument("--config", type=Path)
    try:
        given, _ = parser.parse_known_args(arguments)
        named = given.config or to_path(environment.get(CONFIG))
        file = named if named and os.path.isfile(named) else None
        chosen = given.erasure or environment.get(f"{ENVIRONMENT}ERASURE")
        chosen = chosen or (read(file) if file else {}).get("erasure")
    except (ArgumentError, BadSetting):
        return FILES_AND_MEMORY
    return FILES if chosen == FILES else FILES_AND_MEMORY


def read(file: Path) -> dict[str, Any]:
    """Read the settings of a TOML file and check their types. Raises BadSetting."""
    import tomllib  # only if there is a file, since a server process starts twice

    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadSetting(f"{file} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadSetting(f"{file} is not TOML: {error}.") from None
    for name, value in values.items():
        if name not in KINDS:
            meant, known = nearest(name, KINDS), ", ".join(sorted(KINDS))
            raise BadSetting(f'{file} names "{name}"{meant}; known are {known}.')
        kind = KINDS[name]
        items = value if isinstance(value, list) else []
        if type(value) not in kind.types or not all(isinstance(item, str) for item in items):
            raise BadSetting(f"{file}: {name} has the wrong type: it must be {kind.said}.")
    return values


def nearest(name: str, known: Iterable[str], show: Callable[[str], str] = str) -> str:
    """Return `` (did you mean …?)``, shown so, for the most similar known name; or nothing."""
    from difflib import get_close_matches  # only if one is refused, since a process starts twice

    cut_short = [each for each in known if "_" in name and each.startswith(name)]
    near = cut_short[:1] or get_close_matches(name, known, 1, 0.8)
    return "".join(f" (did you mean {show(each)}?)" for each in near)


def parse_address(address: str, name: str = "listen") -> tuple[str, int]:
    """Split the setting of this ``name`` into host and port. Raises BadSetting."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or int(port) > PORT_MAX:
        raise BadSetting(
            f'{name} must be HOST:PORT, with PORT at most {PORT_MAX}, but is "{address}".'
        )
    return host, int(port)
