"""Maps: where the entries of a memory lie on a plane, computed in a process beside the explorer."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visual_memory import Error, MemoryInfo
from visual_memory.aio import Client
from visual_memory.types import Assessment

ENTRIES_MAX = 200_000
MAPS_MAX = 8  # the oldest goes
FAR = 65_535  # the highest place on each axis, and the highest number of a label
SUSPECT = 255
VOTES, PRUNED, GONE = 0, 1, 2
POINT = np.dtype([("x", "<u2"), ("y", "<u2"), ("label", "<u2"), ("trouble", "u1"), ("state", "u1")])
OPERATIONS_SEEN = 200
ASSESS = "assess"


class NoMap(Exception):
    """A map that cannot be made; the message says why."""


class Key(NamedTuple):
    """An entry: one that was deleted and stored anew under its id is another."""

    id: str
    create_time: datetime


@dataclass(frozen=True, slots=True)
class Map:
    """A map as it is shown: ``points`` (POINT [N]) in the order of the projection's keys.

    ``label`` of a point is its number in ``labels``, ``trouble`` from 0 to 255 the score of a
    suspect, ``state`` VOTES, PRUNED or GONE. ``newer`` entries came after the projection.
    """

    digest: str
    assessed: str
    labels: list[str]
    points: NDArray[np.void]
    newer: int

    @property
    def gone(self) -> int:
        """How many entries of the projection are no longer stored."""
        return int((self.points["state"] == GONE).sum())

    @property
    def suspects(self) -> int:
        """How many entries look mislabelled."""
        return int((self.points["trouble"] > 0).sum())


@dataclass(slots=True)
class Projection:
    """A projection under way or done: entry ``keys[i]`` lies at ``places[i]`` (uint16 [N, 2]).

    Of an entry that was found to be gone, the key is None and the place 0.
    """

    total: int
    keys: list[Key | None] = field(default_factory=list)
    places: NDArray[np.uint16] | None = None
    problem: str = ""
    begun: float = field(default_factory=time.monotonic)
    shown: Map | None = None
    task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """True until it is done, has failed or was cancelled."""
        return self.task is not None and not self.task.done()

    @property
    def seconds(self) -> int:
        """For how long it has run."""
        return int(time.monotonic() - self.begun)


class Maps:
    """The projections of the memories, kept in RAM until an unlearning or the end."""

    def __init__(self) -> None:
        self._projections = dict[str, Projection]()

    def find(self, name: str) -> Projection | None:
        """Return the projection of a memory, if there is one."""
        return self._projections.get(name)

    def begin(self, client: Client, info: MemoryInfo) -> None:
        """Begin to compute a map, unless one is under way. Raises NoMap."""
        if any(each.running for each in self._projections.values()):
            raise NoMap("A map is being computed: wait for it or cancel it.")
        if importlib.util.find_spec("umap") is None:
            raise NoMap(
                "The explorer needs umap-learn for a map: pip install 'visual-memory[explorer,map]'"
            )
        if not 0 < info.count <= ENTRIES_MAX:
            raise NoMap(f"A map has 1 to {ENTRIES_MAX:,} entries, but there are {info.count:,}.")
        while len(self._projections) >= MAPS_MAX:
            del self._projections[next(iter(self._projections))]
        projection = Projection(info.count)
        self._projections[info.name] = projection
        projection.task = asyncio.create_task(project(client, info, projection))

    async def forget(self, name: str) -> None:
        """Cancel the projection of a memory, if there is one, and let go of it."""
        projection = self._projections.pop(name, None)
        if projection is not None and projection.task is not None:
            projection.task.cancel()
            await asyncio.wait([projection.task])

    async def close(self) -> None:
        """Let go of all."""
        for name in list(self._projections):
            await self.forget(name)


async def project(client: Client, info: MemoryInfo, projection: Projection) -> None:
    """Compute the places of all entries, and the map to show."""
    memory = client.memory(info.name)

    async def rows() -> AsyncIterator[bytes]:
        async for entry in memory.entries(include_vectors=True):
            if len(projection.keys) == ENTRIES_MAX:
                raise NoMap(f"A map has at most {ENTRIES_MAX:,} entries.")
            assert entry.vector is not None
            projection.keys.append(Key(entry.id, entry.create_time))
            yield entry.vector.astype("<f4", copy=False).tobytes()

    try:
        flat = await place(rows(), info.dimension)
        projection.places = np.rint(flat * FAR).astype(np.uint16)
        await show(client, await memory.info(), projection)
    except (NoMap, Error) as problem:
        projection.problem = str(problem)


async def place(rows: AsyncIterator[bytes], dimension: int) -> NDArray[np.float32]:
    """Return where another process puts these vectors, float32 [N, 2] from 0 to 1. Raises NoMap."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "visual_memory_explorer.projection", str(dimension)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    count = 0

    async def send() -> None:
        nonlocal count
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it says itself why
            async for row in rows:
                process.stdin.write(row)
                count += 1
                await process.stdin.drain()
        process.stdin.close()

    try:
        assert process.stdout is not None
        assert process.stderr is not None
        _, flat, errors = await asyncio.gather(send(), process.stdout.read(), process.stderr.read())
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode or len(flat) != 8 * count:
        lines = errors.decode(errors="replace").strip().splitlines()
        said = lines[-1] if lines else f"its process ended with {process.returncode}"
        raise NoMap(f"The map could not be computed: {said}")
    return np.frombuffer(flat, "<f4").reshape(count, 2)


async def show(client: Client, info: MemoryInfo, projection: Projection) -> Map:
    """Return the map with the labels and votes of now, and the suspects of the last assessment."""
    assessment = await last_assessment(client, info.name)
    assessed = assessment.operation if assessment is not None else ""
    shown = projection.shown
    if shown is not None and (shown.digest, shown.assessed) == (info.digest, assessed):
        return shown
    assert projection.places is not None
    suspects = assessment.suspects if assessment is not None else []
    scores = {(each.id, each.label): each.score for each in suspects}
    numbers = {key: n for n, key in enumerate(projection.keys) if key is not None}
    points = np.zeros(len(projection.keys), POINT)
    points["state"] = GONE
    labels = dict[str, int]()
    newer = 0
    async for entry in client.memory(info.name).entries():
        n = numbers.get(Key(entry.id, entry.create_time))
        if n is None:
            newer += 1
            continue
        label = min(labels.setdefault(entry.label, len(labels)), FAR)
        score = 0.0 if entry.pruned_by else scores.get((entry.id, entry.label), 0.0)
        place = projection.places[n]
        points[n] = (*place, label, round(SUSPECT * score), PRUNED if entry.pruned_by else VOTES)
    for at in np.flatnonzero(points["state"] == GONE).tolist():
        projection.keys[at], projection.places[at] = None, 0
    projection.shown = Map(info.digest, assessed, list(labels), points, newer)
    return projection.shown


async def last_assessment(client: Client, name: str) -> Assessment | None:
    """Return the last assessment of a memory, if there is a recent one."""
    seen = 0
    async for operation in client.operations(name):
        if operation.kind == ASSESS and operation.state == "done":
            result = (await client.operation(operation.name)).result  # with its suspects
            assert isinstance(result, Assessment)
            return result
        seen += 1
        if seen == OPERATIONS_SEEN:
            break
    return None
