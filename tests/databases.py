"""The SQLite database of a memory or a catalog, for tests that read or write it directly."""

from __future__ import annotations

from visual_memory_index import Catalog, Memory
from visual_memory_index.catalog.sqlite_registry import SqliteRegistry
from visual_memory_index.files.database import Database
from visual_memory_index.sqlite.store import SqliteStore


def database_of(memory: Memory) -> Database:
    assert isinstance(memory._engine.store, SqliteStore)
    return memory._engine.store.database


def registry_of(catalog: Catalog) -> Database:
    assert isinstance(catalog._registry, SqliteRegistry)
    return catalog._registry.database
