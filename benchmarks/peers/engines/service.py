"""This service."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from engines.engine import Engine, Ids, Vectors, Where, fields, padded


class VisualMemory(Engine):
    """This service, in a process of its own, by its blocking client."""

    name, package = "Visual Memory", "visual-memory"

    def open(self) -> None:
        from served import served

        import visual_memory

        self._closing = ExitStack()
        self._server = self._closing.enter_context(served(self.folder / "data"))
        client = self._closing.enter_context(visual_memory.connect(self._server.address))
        self._client = client
        if client.memories():
            self._memory = client.memory(self.collection)
        else:
            self.make()

    def make(self) -> None:
        self._memory = self._client.create_memory(self.collection, dimension=self.dimension)

    def another(self, name: str) -> Engine:
        return self._beside(name)

    def insert(self, first: int, vectors: Vectors) -> None:
        ids = range(first, first + len(vectors))
        self._memory.insert(
            vectors=vectors,
            labels=[f"label {id % 1000}" for id in ids],
            ids=[str(id) for id in ids],
            metadata=[{name: str(value) for name, value in fields(id).items()} for id in ids],
        )

    def search(self, queries: Vectors, k: int, where: Where = None) -> Ids:
        filter = f'metadata.{where[0]} = "{where[1]}"' if where else None
        found = self._memory.search(vectors=queries, k=k, filter=filter)
        return padded([[*map(int, each.ids)] for each in found], k)

    def delete(self, ids: Sequence[int]) -> None:
        self._memory.delete([str(id) for id in ids])

    def pids(self) -> list[int]:
        return [self._server.pid]

    def close(self) -> None:
        self._closing.close()
