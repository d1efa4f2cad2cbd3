"""Embedder specifications: all that decides a vector, as data to store, compare and send."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, Protocol, cast, get_args

import numpy as np
from numpy.typing import NDArray

Decoded = Callable[[float], None]
Device = Literal["cpu", "cuda"]
Interpolation = Literal["bicubic", "bilinear", "box", "hamming", "lanczos", "nearest"]


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Conversion of an upright RGB image to float32 (3, height, width).

    ``resize`` is the new length of the short side, or the (height, width) to resize to, whatever
    the image's proportions; ``crop`` is the (height, width) of the centre that is kept, with black
    where the image is smaller; then each channel is divided by 255, ``mean`` is subtracted and the
    difference divided by ``std``.
    """

    resize: int | tuple[int, int]
    crop: tuple[int, int]
    interpolation: Interpolation
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @classmethod
    def from_fields(cls, fields: object) -> "Preprocessing":
        """Build from parsed JSON. Raises ValueError that names the field and the valid values."""
        if not isinstance(fields, dict) or fields.keys() != set(cls.__slots__):
            raise ValueError(f"the fields must be exactly {', '.join(cls.__slots__)}")
        resize, interpolation = fields["resize"], fields["interpolation"]
        if interpolation not in get_args(Interpolation):
            raise ValueError(f"interpolation must be one of {', '.join(get_args(Interpolation))}")
        std = _channels(fields["std"], "std")
        if 0.0 in std:
            raise ValueError("std must not hold 0")
        return cls(
            resize=resize if _is_length(resize) else _sides(resize, "resize"),
            crop=_sides(fields["crop"], "crop"),
            interpolation=interpolation,
            mean=_channels(fields["mean"], "mean"),
            std=std,
        )


@dataclass(frozen=True, slots=True)
class EmbedderSpec:
    """Everything that decides a vector.

    ``bit_equal``: equal specs give vectors with the same bits, whatever the batch size and the
    number of threads. Those made on a GPU are only nearly the same.
    """

    name: str
    weights_sha256: str
    dimension: int
    preprocessing: Preprocessing
    bit_equal: bool

    def to_json(self) -> str:
        """Return the spec as JSON with sorted keys and no spaces, the same for equal specs."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "EmbedderSpec":
        """Parse the JSON text that ``to_json`` returned. Raises ValueError if it is no spec."""
        try:
            fields = json.loads(text)
        except RecursionError:
            raise ValueError("the spec is nested too deep") from None
        match fields:
            case {
                "name": str(),
                "weights_sha256": str(),
                "dimension": int(),
                "preprocessing": dict(preprocessing),
                "bit_equal": bool(),
                **others,
            } if not others:
                return cls(**{**fields, "preprocessing": Preprocessing.from_fields(preprocessing)})
        raise ValueError(f"the text is not an embedder's spec: {text[:200]}")


class Embedder(Protocol):
    """A frozen network with its preprocessing."""

    @property
    def spec(self) -> EmbedderSpec: ...

    @property
    def keeps_values(self) -> bool:
        """True if parts of what it computed stay in RAM that it holds until it is dropped."""
        ...

    def embed(self, images: Sequence[bytes], decoded: Decoded | None = None) -> NDArray[np.float32]:
        """Embed encoded images as float32 (n, d), in order; every row's norm is 1 within 1e-6.

        ``decoded`` is called once an image is decoded, in the thread that did it, with the
        ``time.monotonic`` at which that began. Raises UndecodableImage for the first image that
        does not decode.
        """
        ...


def _is_length(value: object) -> bool:
    return type(value) is int and value > 0


def _sides(value: object, field: str) -> tuple[int, int]:
    if isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_length, value)):
        return cast(tuple[int, int], tuple(value))
    raise ValueError(f"{field} must be [height, width] in whole pixels")


def _channels(value: object, field: str) -> tuple[float, float, float]:
    if (
        isinstance(value, list | tuple)
        and len(value) == 3
        and all(type(x) in (int, float) and math.isfinite(x) for x in value)
    ):
        return cast(tuple[float, float, float], tuple(map(float, value)))
    raise ValueError(f"{field} must be three finite numbers, one a channel")
