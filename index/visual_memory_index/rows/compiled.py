"""Functions that Numba compiles, and a cache of them on the disk."""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
from numba.core import caching, config
from numpy.typing import NDArray

FunctionCache: Any = caching.FunctionCache
T = TypeVar("T", bound=np.generic)


class Cache(FunctionCache):  # type: ignore[misc]
    """Numba's cache on the disk. What cannot be read there is compiled, and kept if there is room.

    What was compiled while another module of its folder was different is not used; Numba itself
    looks at the file of a function alone.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # whatever damaged bytes lead to
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with suppress(OSError):
            super().save_overload(sig, data)

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        folder = Path(self._py_func.__code__.co_filename).parent
        return *super()._index_key(sig, codegen), hash_of(folder)


@cache
def hash_of(folder: Path) -> str:
    """Return the SHA-256 of all modules in a folder."""
    return sha256(b"".join(each.read_bytes() for each in sorted(folder.glob("*.py")))).hexdigest()


def read_only(array: NDArray[T]) -> NDArray[T]:
    """Return an array as loops are compiled for it once: in C order, not to be written."""
    view = np.ascontiguousarray(array)[:]
    view.flags.writeable = False
    return view


def compiled(function: Any) -> Any:
    """Compile ``function`` when it is first called.

    The result is kept beside its file, as Python keeps its own, if Python may write there; or in
    the folder that NUMBA_CACHE_DIR names.
    """
    dispatcher: Any = numba.njit(nogil=True, error_model="numpy")(function)
    if vars(config)["CACHE_DIR"] or not sys.dont_write_bytecode:
        with suppress(RuntimeError):  # no folder that can be written to
            dispatcher._cache = Cache(function)
    return dispatcher
