"""``serve``: the server, with its log on standard error."""

from __future__ import annotations

import logging
import os
import sys
from argparse import Namespace

from visual_memory_service.commands.refused import Refused, missing_extra
from visual_memory_service.config import BadSetting, to_settings

FLAGS = ("data", "listen", "allow_embedder", "reranker", "threads")
LOG_LEVELS = ("debug", "info", "warning", "error")
SERVER_MODULES = ("faiss", "grpc_health", "grpc_reflection", "onnx", "onnxruntime", "structlog")


def serve(options: Namespace) -> int:
    """Serve until SIGTERM or SIGINT. Raises Refused for what keeps it from starting."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # idle threads of FAISS must not spin
    given = {name: getattr(options, name) for name in FLAGS}
    flags = {name: value for name, value in given.items() if value is not None}
    try:
        settings = to_settings(flags, options.config)
    except BadSetting as error:
        raise Refused(str(error)) from None
    try:
        from visual_memory_embedders import EmbeddingRefusal
        from visual_memory_index import MemoryRefusal
        from visual_memory_service import server
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module not in SERVER_MODULES:
            raise
        raise missing_extra(module, "cpu", "The server") from None
    log_to_standard_error(options.log_level)
    try:
        server.serve(settings)
    except (BadSetting, EmbeddingRefusal, MemoryRefusal) as error:
        raise Refused(str(error)) from None
    except OSError as error:
        problem = error.strerror or error
        raise Refused(f"{settings.data} cannot be the data folder: {problem}.") from None
    return 0


def log_to_standard_error(level: str) -> None:
    """One JSON object a line."""
    import structlog

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(
                structlog.tracebacks.ExceptionDictTransformer(
                    show_locals=False
                )  # they hold entries
            ),
            structlog.processors.JSONRenderer(default=str),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
