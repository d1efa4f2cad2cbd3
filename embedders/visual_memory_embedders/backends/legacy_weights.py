"""Read weights that PyTorch saved before its zip format, without PyTorch and without running code.

The file is a chain of pickles (magic number, protocol, machine, names with tensors, keys of the
storages) followed by the storages in the order of their keys: a count of 8 bytes, then the numbers.
"""

import pickle
from collections import OrderedDict
from collections.abc import Mapping
from io import BytesIO
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGIC = (0x1950A86A20F9469CFC6C, 1001)  # torch/serialization.py: MAGIC_NUMBER, PROTOCOL_VERSION


def read_legacy_weights(data: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays in ``data``, a file in PyTorch's legacy format, by name in file order.

    Raises UnpicklingError if the file contains anything but tensors, or is not in this format.
    """
    file = BytesIO(data)
    storages: dict[str, NDArray[Any]] = {}
    magic, protocol, _, weights, keys = (_Unpickler(file, storages).load() for _ in range(5))
    if (magic, protocol) != MAGIC:
        raise pickle.UnpicklingError("the file is not in PyTorch's legacy format")
    for key in keys:
        storage = storages[key]
        if int.from_bytes(file.read(8), "little") != storage.size:
            raise pickle.UnpicklingError(f"the storage {key} has another size than its tensor says")
        storage[:] = np.frombuffer(file.read(storage.nbytes), storage.dtype)
    return dict(weights)


def _tensor(
    storage: NDArray[Any], offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
) -> NDArray[Any]:
    """Return a view of ``storage``, in place of PyTorch's _rebuild_tensor_v2.

    ``offset`` and ``strides`` count elements; other arguments are ignored. The storage is filled
    after all pickles are read. Raises UnpicklingError if the view would reach beyond it.
    """
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    if min((offset, *strides, *shape)) < 0 or last >= storage.size:
        raise pickle.UnpicklingError("a tensor reaches beyond its storage")
    steps = [stride * storage.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps)


ALLOWED: Mapping[tuple[str, str], Any] = MappingProxyType(
    {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _tensor,
        ("torch", "FloatStorage"): np.dtype("<f4"),
        ("torch", "LongStorage"): np.dtype("<i8"),
    }
)


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BytesIO, storages: dict[str, NDArray[Any]]) -> None:
        super().__init__(file)
        self._storages = storages

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"the file asks for {module}.{name}: not allowed")
        return ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> NDArray[Any]:
        _, dtype, key, _, size, _ = pid
        return self._storages.setdefault(key, np.zeros(size, dtype))
