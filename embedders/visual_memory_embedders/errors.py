"""Refusals of the embedders: bad images, unknown or missing networks."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from visual_memory_embedders.spec import EmbedderSpec


def first_line(problem: Exception) -> str:
    """Return what an error of a library says, without what follows in further lines."""
    return str(problem).partition("\n")[0].rstrip(".") or type(problem).__name__


class EmbeddingRefusal(Exception):
    """The base of all refusals of this package; its message is a sentence to act on."""


class UnknownEmbedder(EmbeddingRefusal):
    """A name that no embedder has."""

    def __init__(self, name: str, choices: Sequence[str]) -> None:
        super().__init__(f"No embedder is named {name!r}: choose one of {', '.join(choices)}.")


class UndecodableImage(EmbeddingRefusal):
    """An image of a batch that cannot be decoded; ``position`` counts from 0."""

    def __init__(self, position: int, problem: str) -> None:
        super().__init__(f"images[{position}] {problem}.")
        self.position, self.problem = position, problem


class WrongEmbedder(EmbeddingRefusal):
    """An embedder other than the one that made the stored vectors."""

    def __init__(self, stored: EmbedderSpec, built: EmbedderSpec) -> None:
        names = [field.name for field in fields(EmbedderSpec)]
        values = [(name, getattr(stored, name), getattr(built, name)) for name in names]
        differences = ", ".join(
            f"{name} (stored {old}, built {new})" for name, old, new in values if old != new
        )
        if stored.bit_equal != built.bit_equal:
            differences += "; bit_equal is False of vectors made on a GPU"
        super().__init__(
            f"The stored vectors were made by another embedder than {built.name!r} as it is built "
            f"here, which differs in {differences}: bring back {stored.name!r} as it was, or embed "
            "the images anew into another memory."
        )


class MissingWeights(EmbeddingRefusal):
    """A weight file that is missing."""

    def __init__(self, name: str, problem: str, remedy: str) -> None:
        super().__init__(f"The weights of {name!r} are missing ({problem}): {remedy}.")


class WrongWeights(EmbeddingRefusal):
    """A weight file that differs from the published one."""

    def __init__(self, path: Path, *, wanted: str, got: str, remedy: str) -> None:
        super().__init__(
            f"{path.name} has the SHA-256 {got} where {wanted} was published, and was not read: "
            f"{remedy}."
        )
        self.wanted, self.got = wanted, got


class MissingExtra(EmbeddingRefusal):
    """An embedder whose libraries are not installed."""

    def __init__(self, name: str, *, module: str, extra: str) -> None:
        super().__init__(
            f"{name!r} needs the Python package {module!r}, which is not installed; in the "
            f"checkout of visual-memory: pip install -e '.[{extra}]'."
        )


class NoGpu(EmbeddingRefusal):
    """A network that is to run on a GPU, and cannot."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(
            f"{name!r} cannot run on a GPU ({problem}): install the extra gpu and the driver of "
            'the GPU, or start the server with device = "cpu".'
        )


class GpuFailed(EmbeddingRefusal):
    """A GPU that failed while a network ran on it."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(
            f"{name!r} failed on the GPU ({problem}): nothing is lost; if it fails again, restart "
            "the server."
        )


class UnsupportedNetwork(EmbeddingRefusal):
    """A network, or preprocessing, of a kind that is not supported."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name!r} cannot be used: {problem}.")
