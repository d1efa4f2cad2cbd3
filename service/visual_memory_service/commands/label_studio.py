"""``label-studio``: serve a memory as the machine-learning backend of Label Studio."""

from __future__ import annotations

import logging
from argparse import Namespace

from visual_memory import Client, aio
from visual_memory.terminal import arguments
from visual_memory.terminal.arguments import Commands
from visual_memory.terminal.refused import Refused
from visual_memory_service.commands.explorer import needing
from visual_memory_service.console.arguments import add_asking, add_path

LISTEN = "127.0.0.1:9090"
STUDIO = "http://127.0.0.1:8080"


def add_to(commands: Commands) -> None:
    parser = add_asking(
        commands, "label-studio", label_studio, "serve a memory as a backend of Label Studio"
    )
    parser.add_argument(
        "--url",
        default=STUDIO,
        help=f"the address of Label Studio; default: {STUDIO}",
    )
    add_path(
        parser,
        "--token-file",
        "FILE",
        "the file with an access token of Label Studio, from its page of your account",
        required=True,
    )
    parser.add_argument(
        "--listen",
        metavar="IP:PORT",
        default=LISTEN,
        help=f"where Label Studio finds the backend; default: {LISTEN}",
    )


def label_studio(client: Client, options: Namespace) -> None:
    """Serve until the process is told to stop: predict, and take over what is annotated."""
    with needing("The backend of Label Studio"):
        from visual_memory_explorer.serve import BadAddress, serve_studio
        from visual_memory_explorer.studio import Studio
    client.memory(options.name).info()
    studio = Studio(options.url, arguments.secret(options.token_file, "token"))
    logging.basicConfig(format="%(message)s", level=logging.WARNING)

    def connect() -> aio.Client:
        return aio.connect(
            options.server,
            api_key=arguments.api_key(options),
            tls=options.tls,
            root_certificates=options.root_certificates,
            client_certificate=options.client_certificate,
            client_key=options.client_key,
            timeout=options.timeout,
        )

    try:
        serve_studio(
            connect,
            options.name,
            studio,
            options.listen,
            ready=lambda address: print(f"backend of Label Studio on {address}", flush=True),
        )
    except BadAddress as problem:
        raise Refused(str(problem)) from None
