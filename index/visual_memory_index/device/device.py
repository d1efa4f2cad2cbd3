"""A device that computes, such as a GPU: what it is called, how exact it is, if it has failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

from visual_memory_index.codes.bound import float32_error
from visual_memory_index.errors import DeviceFailed, UnfitDevice
from visual_memory_index.rows.multiply import multiply

CHECKED = ((1, 3), (64, 3), (1, 768), (128, 768))  # queries, and dimensions
ROWS = 4096


class DeviceFull(Exception):
    """A device has too little free memory."""


class Device:
    """The device that PyTorch calls ``name``; all that use it share this object.

    After a ``failure`` to change what it holds nothing is computed on it any more. Raises
    UnfitDevice if it is missing, or if its products are further off than the bound of float32 sums.
    """

    def __init__(self, name: str) -> None:
        self.torch = torch.device(name)
        kind, number = self.torch.type, self.torch.index or 0
        self.name = f"GPU {number}" if kind == "cuda" else kind.upper()
        self.failure = ""
        try:
            self._forbid_tf32()
            error = error_of(torch.mm, self.torch)
        except (AssertionError, RuntimeError) as problem:  # PyTorch without CUDA asserts
            raise UnfitDevice(self.name, first_line(problem)) from None
        if error > 1.0:
            raise UnfitDevice(
                self.name,
                "its products are further off than float32 allows; "
                "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE must not be set",
            )

    def zeros(self, shape: tuple[int, ...]) -> torch.Tensor:
        """Return zeros, float32, in the device's memory."""
        return torch.zeros(shape, dtype=torch.float32, device=self.torch)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Context manager of work on the device. Raises DeviceFailed, DeviceFull."""
        if self.failure:
            raise DeviceFailed(self.name, self.failure)
        try:
            self._forbid_tf32()  # libraries may have allowed it
            with torch.inference_mode():
                yield
        except torch.OutOfMemoryError:
            raise DeviceFull from None
        except RuntimeError as problem:
            raise DeviceFailed(self.name, first_line(problem)) from None

    @contextmanager
    def keeping_failure(self) -> Iterator[None]:
        """Context manager that keeps a failure inside it, instead of raising it.

        Raises DeviceFull, MemoryError.
        """
        try:
            with torch.inference_mode():
                yield
        except (DeviceFull, MemoryError):
            raise
        except torch.OutOfMemoryError:
            raise DeviceFull from None
        except Exception as problem:  # whatever it is, the rows there are not as they should be
            self.failure = self.failure or first_line(problem)

    def give_back_unused(self) -> None:
        """Give back the memory that PyTorch keeps for later use. Raises DeviceFailed."""
        with self.working():
            if self.torch.type == "cuda":
                torch.cuda.empty_cache()

    def _forbid_tf32(self) -> None:
        if torch.backends.cuda.matmul.allow_tf32:
            torch.backends.cuda.matmul.allow_tf32 = False


def error_of(
    product: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], device: torch.device
) -> float:
    """Return the largest error of products on a device, as a share of what the bound allows.

    Half of the vectors have products that are far off where numbers are cut short, as TF32 does.
    """
    worst = 0.0
    for count, dimension in CHECKED:
        flat = np.full((ROWS, dimension), dimension**-0.5)
        drawn = np.random.default_rng(0).standard_normal((ROWS, dimension))
        rows = np.stack([flat, drawn], axis=1).reshape(-1, dimension)
        unit = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        there = torch.from_numpy(unit).to(device)
        found = product(there[:count], there.T).cpu().numpy().astype(np.float64)
        exact = multiply(unit[:count].astype(np.float64), unit.T.astype(np.float64))
        worst = max(worst, float(np.abs(found - exact).max()) / float32_error(dimension))
    return worst


def first_line(problem: Exception) -> str:
    """Return what an error of PyTorch says, without the advice that follows."""
    return str(problem).partition("\n")[0].rstrip(".") or type(problem).__name__
