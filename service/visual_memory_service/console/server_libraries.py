"""Libraries that a server needs beyond the base install, which is the client alone."""

from __future__ import annotations

from importlib.util import find_spec

from visual_memory.terminal.refused import MissingExtra

MODULES = ("blake3", "grpc_health", "grpc_reflection", "numba", "onnx", "onnxruntime", "structlog")


def need(purpose: str) -> None:
    """Raise MissingExtra, naming ``purpose``, if a server's library is missing; import none."""
    for module in MODULES:
        if find_spec(module) is None:
            raise MissingExtra(
                module, extra="cpu", purpose=f"This installation is the client alone; {purpose}"
            )
