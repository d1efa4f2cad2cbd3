"""Work in independent parts: a refused one does not stop the others."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from visual_memory_benchmarks.errors import BenchmarkRefusal, MemoryChanged, RunStopped


def one_by_one(parts: Mapping[str, Callable[[], Any]]) -> tuple[dict[str, Any], int]:
    """Run the parts; return their results by name, and the exit code.

    If a part is refused, the refusal is printed to standard error and the code is 1; if there is
    only one part, its refusal is raised instead. RunStopped and MemoryChanged are always raised.
    """
    done: dict[str, Any] = {}
    for name, do in parts.items():
        try:
            done[name] = do()
        except (RunStopped, MemoryChanged):
            raise
        except BenchmarkRefusal as refusal:
            if len(parts) == 1:
                raise
            print(f"{name}: {refusal}", file=sys.stderr)
    return done, int(len(done) < len(parts))
