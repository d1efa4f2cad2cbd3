"""Where a server computes: on its processor, or on a GPU."""

from __future__ import annotations

import time
from concurrent.futures import Future
from dataclasses import replace
from threading import Timer

import structlog

import visual_memory_index as index
from visual_memory_service.config import CPU, CUDA, RAM, BadSetting, Settings

NO_TORCH = (
    "PyTorch cannot be used ({}); in the checkout of visual-memory, in a new environment: "
    "pip install -e '.[gpu]'"
)
IN_FILES = 'a GPU holds the vectors, and originals is "disk"'
COMPILING_SECONDS = 2.0  # reading what was compiled before takes less than half a second
log = structlog.get_logger()


def tell_crowded(count: int) -> None:
    """Log that so many entries of a memory find no room on the GPU."""
    log.warning("GPU is full", entries=count, problem="they are searched by the processor")


def decided(settings: Settings) -> tuple[Settings, index.IndexFactory]:
    """Return settings whose ``device`` is no more "auto", and the indexes for it; log both.

    Raises BadSetting if the device is "cuda" and no GPU can be used.
    """
    problem = IN_FILES if settings.originals != RAM else ""
    if settings.device != CPU and not problem:
        try:
            from visual_memory_index.device.indexes import DeviceIndexes  # it imports PyTorch

            indexes = DeviceIndexes(settings.threads, crowded=tell_crowded)
        except (ImportError, OSError) as missing:
            problem = NO_TORCH.format(str(missing).partition("\n")[0].rstrip("."))
        except index.errors.UnfitDevice as unfit:
            problem = str(unfit)
        else:
            log.info("computes on a GPU", device=indexes.device.name)
            return replace(settings, device=CUDA), indexes
    if settings.device == CUDA:
        raise BadSetting(f"The device cannot be a GPU: {problem}")
    if settings.device != CPU:
        log.info("computes on the processor", problem=problem)
    indexes_in_ram = index.ScannedIndexes(settings.threads, settings.originals)
    tell_compiling(indexes_in_ram.prepared)
    return replace(settings, device=CPU), indexes_in_ram


def tell_compiling(prepared: Future[object], after: float = COMPILING_SECONDS) -> None:
    """Log that loops are being compiled, if they are not ``prepared`` after seconds; and the end.

    Nobody else says why the first memory takes long to open.
    """
    began = time.perf_counter()

    def tell() -> None:
        log.info(
            "compiling loops",
            reason="none are kept from an earlier start; searches and writes wait until they are "
            "compiled",
            way_out="if each start says so, unset PYTHONDONTWRITEBYTECODE, or name a folder that "
            "the server may write with NUMBA_CACHE_DIR",
        )
        prepared.add_done_callback(tell_end)

    def tell_end(done: Future[object]) -> None:
        if done.exception() is None:  # which whoever opens a memory tells
            log.info("loops compiled", seconds=round(time.perf_counter() - began, 2))

    waiting = Timer(after, tell)
    waiting.daemon = True  # or the end of a server would wait for it
    waiting.start()
    prepared.add_done_callback(lambda _: waiting.cancel())
