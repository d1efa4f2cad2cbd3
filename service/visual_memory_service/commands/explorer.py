"""``explorer``: serve web pages to look at the memories of a server, and to correct them."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from visual_memory import Unauthenticated, aio
from visual_memory.terminal.arguments import Commands, add, add_server, connect, file_or_folder
from visual_memory.terminal.refused import MissingExtra, Refused

LISTEN = "127.0.0.1:0"
MODULES = ("jinja2", "markdown_it", "python_multipart", "starlette", "uvicorn")


def add_to(commands: Commands) -> None:
    parser = add(commands, "explorer", "serve web pages of a server's memories")
    parser.add_argument(
        "--listen",
        metavar="IP:PORT",
        default=LISTEN,
        help=f"where browsers find the pages; port 0 is a free one; default: {LISTEN}",
    )
    parser.add_argument(
        "--origin",
        metavar="URL",
        help="the address that browsers see, such as that of a proxy with TLS; needed where "
        "--listen is no address of this machine alone",
    )
    parser.add_argument(
        "--results",
        metavar="FOLDER",
        type=file_or_folder,
        help="show the benchmark results in this folder, such as docs",
    )
    to = parser.add_argument_group("connection")
    add_server(to, with_key=False)
    parser.set_defaults(run=explorer, api_key_file=None)


@contextmanager
def needing(purpose: str) -> Iterator[None]:
    """Say what to install where the pages' libraries are missing. Raises MissingExtra."""
    try:
        yield
    except ModuleNotFoundError as missing:
        if missing.name not in MODULES:
            raise
        raise MissingExtra(missing.name, extra="explorer", purpose=purpose) from None


def explorer(options: Namespace) -> None:
    """Serve the pages until the process is told to stop; those who come log in with their keys."""
    with needing("The explorer"):
        from visual_memory_explorer.serve import BadAddress, serve
    with connect(options) as client, suppress(Unauthenticated):
        client.server_info()

    def as_caller(key: str | None) -> aio.Client:
        return aio.connect(
            options.server,
            api_key=key,
            tls=options.tls,
            root_certificates=options.root_certificates,
            client_certificate=options.client_certificate,
            client_key=options.client_key,
            timeout=options.timeout,
        )

    try:
        serve(
            as_caller,
            options.listen,
            origin=options.origin,
            needs_key=options.client_certificate is not None,
            results=options.results,
            ready=lambda address: print(f"explorer on {address}", flush=True),
        )
    except BadAddress as problem:
        raise Refused(str(problem)) from None
