"""This service and its peers, each as one engine with the same few methods."""

from __future__ import annotations

from engines.engine import Engine, Ids, Vectors, Where, matching
from engines.in_ram import Flat, Hnswlib, Panorama, ScikitLearn, Usearch
from engines.lance import LanceDB
from engines.milvus import MilvusLite
from engines.postgres import Pgvector
from engines.qdrant import QdrantEdge
from engines.service import VisualMemory
from engines.sqlite import SqliteVec

__all__ = ["ENGINES", "Engine", "Ids", "Vectors", "Where", "matching"]

ENGINES: dict[str, type[Engine]] = {
    each.name: each
    for each in (
        VisualMemory,
        Flat,
        Panorama,
        Usearch,
        ScikitLearn,
        Hnswlib,
        QdrantEdge,
        MilvusLite,
        LanceDB,
        SqliteVec,
        Pgvector,
    )
}
