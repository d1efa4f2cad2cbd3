"""Where the vectors of a server are searched: by its processor, or on a GPU."""

from __future__ import annotations

from importlib.util import find_spec

import structlog

import visual_memory_index as index
from visual_memory_service.config import CPU, RAM, BadSetting, Settings

log = structlog.get_logger()


def indexes_of(settings: Settings) -> index.IndexFactory:
    """Return the indexes for a server's ``device``, which is logged.

    Raises BadSetting if that is "cuda" and no GPU can be used.
    """
    on_gpu, problem = settings.device != CPU and settings.originals == RAM, ""
    if on_gpu and find_spec("torch") is None:
        on_gpu, problem = False, "PyTorch is not installed: install the extra gpu"
    if on_gpu:
        from visual_memory_index.device.indexes import DeviceIndexes  # it imports PyTorch

        try:
            indexes = DeviceIndexes(settings.threads)
        except index.errors.UnfitDevice as unfit:
            problem = str(unfit)
        else:
            log.info("vectors on a device", device=indexes.unsearchable[-1])
            return indexes
    if settings.device == "cuda":
        raise BadSetting(f'device is "cuda", and cannot be: {problem}')
    if problem:
        log.info("vectors in RAM", problem=problem)
    return index.ScannedIndexes(settings.threads, settings.originals)
