"""Arrays and tensors of any library, as NumPy's arrays and as pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeGuard

from visual_memory.errors import refuse

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CHANNELS = (3, 4)
MAX = 255


class SupportsArray(Protocol):
    """An array, or a tensor that turns into one, such as PyTorch's."""

    def __array__(self) -> NDArray[Any]: ...


class SupportsDLPack(Protocol):
    """A tensor that is handed over by DLPack."""

    def __dlpack__(self) -> Any: ...


AnyArray: TypeAlias = "SupportsArray | SupportsDLPack"


def is_array(value: object) -> TypeGuard[AnyArray]:
    """Return True for an array or tensor of any library."""
    kind = type(value)
    return hasattr(kind, "__array__") or hasattr(kind, "__dlpack__")


def to_numpy(value: AnyArray, path: str) -> NDArray[Any]:
    """Return the array of NumPy that has the memory of ``value``, or a copy of it.

    Raises InvalidArgument, naming the field ``path``, if its library does not allow that.
    """
    import numpy as np

    try:
        if hasattr(value, "__array__"):
            return np.asarray(value)
        found: NDArray[Any] = np.from_dlpack(value)  # type: ignore[arg-type]  # is checked there
        return found
    except (BufferError, RuntimeError, TypeError, ValueError) as problem:
        way = ": give tensor.detach().cpu().float()" if hasattr(value, "detach") else ""
        refuse(path, f"cannot be read as an array of NumPy ({problem}){way}")


def looks_like_one_picture(shape: tuple[int, ...]) -> bool:
    """Return True for the shape of a picture that is no shape of several grey ones."""
    return len(shape) == 2 or (
        len(shape) == 3 and (shape[2] in (1, *CHANNELS) or shape[0] in (1, *CHANNELS))
    )


def upright(array: NDArray[Any], path: str) -> NDArray[Any]:
    """Return a view (h, w), (h, w, 3) or (h, w, 4) of an array that may have its channels first.

    The values must be uint8, or floats from 0 to 1. Raises InvalidArgument, naming the field
    ``path``, if they are not, or if the shape is none of a picture.
    """
    import numpy as np

    shape = array.shape
    if not (array.size and looks_like_one_picture(shape)):
        way = ": give images=list(array)" if len(shape) == 4 else ""
        refuse(path, f"must be (h, w), (h, w, 3) or (3, h, w), but is {array.dtype} {shape}{way}")
    if array.dtype != np.uint8:
        check_values(array, path)
    if len(shape) == 2 or shape[2] in CHANNELS:
        return array
    if shape[2] == 1:
        return array[:, :, 0]
    return array[0] if shape[0] == 1 else np.moveaxis(array, 0, 2)


def check_values(array: NDArray[Any], path: str) -> None:
    """Raise InvalidArgument, naming the field ``path``, unless all are floats from 0 to 1."""
    kind = array.dtype.kind
    if kind not in "bfiu":
        refuse(path, f"must be uint8, or floats from 0 to 1, but is {array.dtype}")
    least, most = array.min(), array.max()
    if kind == "f" and least >= 0 and most <= 1:
        return
    if kind == "b":
        way = ": give array.astype('uint8') * 255"
    elif least >= 0 and most <= MAX:
        way = ": give array.astype('uint8')"
    elif kind == "f":
        way = ": undo its normalization, such as array * std + mean"
    else:
        way = ""
    refuse(
        path,
        f"must be uint8, or floats from 0 to 1, but is {array.dtype} from {least} to {most}{way}",
    )


def to_uint8(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Return pixels as uint8; floats from 0 to 1 become the nearest of 0 to 255."""
    import numpy as np

    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    return np.rint(array.astype(np.float64) * MAX).astype(np.uint8)
