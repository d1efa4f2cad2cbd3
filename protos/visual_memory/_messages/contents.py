"""The images or vectors of a call, split into parts that fit its messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from google.protobuf.message import Message

from visual_memory._messages.arrays import is_array, to_numpy
from visual_memory._messages.fields import strings
from visual_memory._messages.images import (
    Accepted,
    Image,
    Images,
    SomeImages,
    accept,
    dimensions,
    load,
    measure,
    refuse_one_image,
)
from visual_memory.errors import refuse
from visual_memory.types import Limits
from visual_memory.v1 import service_pb2 as pb

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

CHECKED_BYTES = 1 << 24  # of vectors checked at once

PART_BYTES, PART_ITEMS = 4 << 20, 256  # of a larger call at most, however fast the server is
ITEM_BYTES = 32  # tags and lengths around an item and its entry, rounded up
MARGIN_BYTES = 1 << 16


class Pictures:
    """Images that are read, or encoded as PNG, when their message is written.

    With ``optional``, None in the list stands for no image. Raises InvalidArgument for a missing
    file and for anything that is not an image.
    """

    name = "images"

    def __init__(self, images: SomeImages, *, optional: bool = False) -> None:
        refuse_one_image(images)
        if not isinstance(images, Iterable):
            refuse("images", f"must be a list, but is {images!r:.80}")
        self._images: list[Accepted] = [
            b"" if optional and image is None else accept(cast("Image", image), f"images[{i}]")
            for i, image in enumerate(images)
        ]
        if not self._images:
            refuse("images", "must not be empty")
        self._sizes = [measure(image, f"images[{i}]") for i, image in enumerate(self._images)]
        self._loaded: dict[int, bytes] = {}
        self.bytes_known = sum(self._sizes)

    def __len__(self) -> int:
        return len(self._images)

    def check(self, limits: Limits) -> None:
        """Raise InvalidArgument for an image of more bytes or pixels than the server allows.

        Must be called before ``size``, ``write`` and ``take``.
        """
        self._bytes_max = limits.image_bytes
        for number, (image, size) in enumerate(zip(self._images, self._sizes, strict=True)):
            self._check_size(number, size)
            width, height = dimensions(image)
            if width * height > limits.image_pixels:
                refuse(
                    f"images[{number}]",
                    f"has {width:,} × {height:,} pixels: send at most {limits.image_pixels:,}",
                )

    def size(self, number: int) -> int:
        """Load image ``number`` and return its size in bytes."""
        if number not in self._loaded:
            data = load(self._images[number], f"images[{number}]")
            self._check_size(number, len(data))
            self._loaded[number] = data
        return len(self._loaded[number])

    def write(self, part: range, message: Holder) -> None:
        """Write the images numbered ``part`` into a message, and release the loaded copies."""
        message.images.data.extend(self.take(number) for number in part)

    def take(self, number: int) -> bytes:
        """Return the bytes of image ``number``, b"" for no image, and release the loaded copy."""
        self.size(number)
        return self._loaded.pop(number, b"")

    def _check_size(self, number: int, size: int) -> None:
        if size > self._bytes_max:
            refuse(f"images[{number}]", f"has {size:,} bytes: send at most {self._bytes_max:,}")


class Rows:
    """Vectors (n, d), packed as little-endian float32 when their message is written.

    ``path`` is the name of a row in errors, with ``{}`` for its number. Raises InvalidArgument for
    a wrong shape, NaN, infinity and zero vectors.
    """

    def __init__(self, vectors: ArrayLike, path: str, name: str = "vectors") -> None:
        import numpy as np

        self.name = name
        try:
            self._vectors = to_numpy(vectors, name) if is_array(vectors) else np.asarray(vectors)
        except ValueError:
            refuse(name, "must be rows of the same length")
        shape = self._vectors.shape
        if len(shape) == 1:
            refuse(
                name,
                f"must have the shape (n, d), but have {shape}: a single one is vector[None, :]",
            )
        if len(shape) != 2 or not shape[1]:
            refuse(name, f"must have the shape (n, d), but have {shape}")
        if self._vectors.dtype.kind not in "fiu":
            refuse(name, f"must be floats, but are {self._vectors.dtype}")
        if not shape[0]:
            refuse(name, "must not be empty")
        self._row_bytes = 4 * int(shape[1])
        self.bytes_known = self._row_bytes * shape[0]
        self._check_rows(path)

    def __len__(self) -> int:
        return len(self._vectors)

    def check(self, limits: Limits) -> None:
        """Do nothing: vectors have no limit of their own."""

    def size(self, number: int) -> int:
        """Return the size of row ``number`` in bytes; all rows have the same size."""
        return self._row_bytes

    def write(self, part: range, message: Holder) -> None:
        """Pack the rows numbered ``part`` into the field ``vectors`` of a message."""
        message.vectors.rows = len(part)
        message.vectors.data = self._packed(part.start, part.stop).tobytes()

    def _packed(self, start: int, stop: int) -> NDArray[np.float32]:
        import numpy as np

        with np.errstate(over="ignore", invalid="ignore"):
            return np.ascontiguousarray(self._vectors[start:stop], dtype="<f4")

    def _check_rows(self, path: str) -> None:
        import numpy as np

        step = max(1, CHECKED_BYTES // self._row_bytes)
        for start in range(0, len(self), step):
            rows = self._packed(start, start + step)
            bad = np.flatnonzero(~(np.isfinite(rows).all(axis=1) & rows.any(axis=1)))
            if bad.size:
                refuse(path.format(start + int(bad[0])), "must be finite and not zero")


Contents: TypeAlias = Pictures | Rows
Holder: TypeAlias = Any  # a message with the fields images and vectors, or with one of them


def contents(images: SomeImages | None, vectors: ArrayLike | None, path: str) -> Contents:
    """Wrap images as Pictures or vectors (n, d) as Rows; exactly one of the two must be given.

    ``path`` is that of Rows, the name of a row in errors. Raises InvalidArgument.
    """
    if images is not None and vectors is not None:
        refuse("images", "and vectors exclude each other: give one of them")
    if images is not None:
        return Pictures(images)
    if vectors is not None:
        return Rows(vectors, path)
    refuse("images", "or vectors must be given")


def parts(
    contents: Contents,
    *,
    most: int,
    items: Callable[[], int],
    start: int = 0,
    soft: int = PART_BYTES,
    extra: Callable[[int], int] = lambda number: 0,
) -> Iterator[range]:
    """Yield ranges of item numbers from ``start``: at most ``items()`` items and ``soft`` bytes.

    An item that alone needs more than ``soft`` bytes has a range of its own, up to ``most`` bytes;
    InvalidArgument is raised if one needs more. ``items`` is called for each range, so that it can
    depend on earlier answers. ``extra`` returns the bytes that an item, by its number, needs
    besides its image or vector.
    """
    first, filled, soft = start, 0, min(soft, most)
    for number in range(start, len(contents)):
        size = contents.size(number) + extra(number) + ITEM_BYTES
        if size > most:
            refuse(
                f"{contents.name}[{number}]",
                f"needs {size:,} bytes, where a message to this server has room for {most:,}",
            )
        if number > first and (filled + size > soft or number - first >= items()):
            yield range(first, number)
            first, filled = number, 0
        filled += size
    if first < len(contents):
        yield range(first, len(contents))


def room(limits: Limits, header: Message) -> int:
    """Return the bytes that a message with this header has left for items, within ``limits``."""
    margin = min(MARGIN_BYTES, limits.message_bytes // 16)
    return limits.message_bytes - margin - header.ByteSize()


def write_labelled(
    request: pb.ValueEntriesRequest | pb.CalibrateMemoryRequest,
    limits: Limits,
    images: Images | None,
    vectors: ArrayLike | None,
    labels: Iterable[str] | None,
) -> None:
    """Write images or vectors with their labels, if given, into a request of one message.

    Raises InvalidArgument unless there is one label for each, and if the request exceeds
    ``limits``.
    """
    if images is None and vectors is None:
        if labels is not None:
            refuse("labels", "belong to images or vectors, of which there are none")
        return
    if labels is None:
        refuse("labels", "must be given with images or vectors")
    queries = contents(images, vectors, "vectors[{}]")
    queries.check(limits)
    queries.write(range(len(queries)), request)
    request.labels.extend(strings(labels, "labels"))
    if len(request.labels) != len(queries):
        refuse("labels", f"must be {len(queries)}, one for each query, not {len(request.labels)}")
    if request.ByteSize() > limits.message_bytes:
        refuse(queries.name, f"must fit into one message of {limits.message_bytes:,} bytes")
