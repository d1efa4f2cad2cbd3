"""PyTorch's old files are read as arrays, and can do nothing else."""

import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from visual_memory_embedders.backends.legacy_weights import ALLOWED, MAGIC, read_legacy_weights
from visual_memory_embedders.backends.lite_backend import weight_file
from visual_memory_embedders.registry import LITE_NETWORKS


class FloatStorage:
    """A stand-in for torch.FloatStorage, pickled under its name."""


def _rebuild_tensor_v2(*_: object) -> None:
    """Stand in for torch._utils._rebuild_tensor_v2, pickled under its name."""


class Tensor:
    """Six floats, viewed by an offset, a shape and strides."""

    def __init__(self, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self.view = (offset, shape, strides)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _rebuild_tensor_v2, (FloatStorage(), *self.view, False, OrderedDict())


class Pickler(pickle.Pickler):
    def persistent_id(self, obj: Any) -> Any:
        return ("storage", FloatStorage, "7", "cpu", 6, None) if type(obj) is FloatStorage else None


def legacy_file(weights: object, *, magic: tuple[int, int] = MAGIC, size: int = 6) -> bytes:
    file = BytesIO()
    for part in (*magic, {"little_endian": True}, weights, ["7"]):
        Pickler(file, 2).dump(part)
    pickles = file.getvalue()
    for stand_in, module in ((FloatStorage, b"torch"), (_rebuild_tensor_v2, b"torch._utils")):
        name = b"\n" + stand_in.__name__.encode()
        pickles = pickles.replace(b"c" + __name__.encode() + name, b"c" + module + name)
    numbers = np.arange(size, dtype="<f4").tobytes()
    return pickles + size.to_bytes(8, "little") + numbers


def test_tensors_are_views_with_their_strides() -> None:
    weights = read_legacy_weights(
        legacy_file({"a": Tensor(0, (2, 3), (3, 1)), "t": Tensor(1, (2, 2), (1, 3))})
    )

    assert weights["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert weights["t"].tolist() == [[1, 4], [2, 5]]


@pytest.mark.parametrize(
    "forbidden", [os.system, eval, np.save, Path], ids=lambda named: named.__name__
)
def test_a_file_that_names_anything_else_is_refused(forbidden: object) -> None:
    class Malicious:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return forbidden, ("touch /tmp/owned",)

    with pytest.raises(pickle.UnpicklingError, match="not allowed"):
        read_legacy_weights(legacy_file({"a": Malicious()}))


def test_only_tensors_are_allowed() -> None:
    assert {name for _, name in ALLOWED} == {
        "FloatStorage",
        "LongStorage",
        "OrderedDict",
        "_rebuild_tensor_v2",
    }


@pytest.mark.parametrize(
    "recipe", [(0, (2, 4), (4, 1)), (6, (1,), (1,)), (-1, (1,), (1,)), (3, (2,), (-9,))]
)
def test_a_tensor_beyond_its_storage_is_refused(recipe: tuple[Any, ...]) -> None:
    with pytest.raises(pickle.UnpicklingError, match="beyond its storage"):
        read_legacy_weights(legacy_file({"a": Tensor(*recipe)}))


def test_another_format_is_refused() -> None:
    with pytest.raises(pickle.UnpicklingError, match="legacy format"):
        read_legacy_weights(legacy_file({}, magic=(1, 2)))


def test_a_storage_of_another_size_is_refused() -> None:
    with pytest.raises(pickle.UnpicklingError, match="another size"):
        read_legacy_weights(legacy_file({"a": Tensor(0, (2, 3), (3, 1))}, size=5))


@pytest.mark.parametrize(("lite", "count"), [(0, 247), (1, 322), (2, 322)])
def test_the_published_files_have_their_tensors(lite: int, count: int) -> None:
    name = f"efficientnet-lite{lite}"

    weights = read_legacy_weights(weight_file(name, LITE_NETWORKS[name]))

    names = [name for name in weights if not name.endswith("num_batches_tracked")]
    assert len(names) == count
    assert all(np.isfinite(weights[name]).all() for name in names)
