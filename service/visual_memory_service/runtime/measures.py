"""Measures of the server, beside those of the index: calls, searches, embedding, operations.

Those of calls have the names that OpenTelemetry gives them for gRPC.
"""

from __future__ import annotations

from visual_memory_index.records import measures as index
from visual_memory_index.records.measures import POWERS, SECONDS, Counter, Histogram

CALLS_STARTED = Counter(
    "grpc_server_call_started_total", "Calls that have begun.", ("grpc_method",)
)
CALL_SECONDS = Histogram(
    "grpc_server_call_duration_seconds",
    "Time of a call, from its first metadata until its end.",
    SECONDS,
    ("grpc_method", "grpc_status"),
)
RECEIVED_BYTES = Counter(
    "visual_memory_received_bytes_total", "Bytes of messages of clients.", ("grpc_method",)
)
CALLS_REFUSED = Counter(
    "visual_memory_calls_refused_total",
    "Calls that were refused, by the reason that their clients got.",
    ("reason",),
)
SEARCH_QUERIES = Histogram(
    "visual_memory_search_queries", "Queries that were searched for together.", POWERS
)
SEARCH_WAIT_SECONDS = Histogram(
    "visual_memory_search_wait_seconds",
    "Time of a query, or a part of a large one, until its search began.",
    SECONDS,
)
SEARCH_SECONDS = Histogram("visual_memory_search_seconds", "Time of a search.", SECONDS)
EMBED_SECONDS = Histogram(
    "visual_memory_embed_seconds", "Time in which pictures of a message were embedded.", SECONDS
)
PICTURES = Counter("visual_memory_embedded_pictures_total", "Pictures that were embedded.")
OPERATIONS_ENDED = Counter(
    "visual_memory_operations_ended_total", "Operations that have ended.", ("kind", "state")
)
ERASED_ENTRIES = Counter("visual_memory_erased_entries_total", "Entries that were unlearned.")
RESIDUES_FOUND = Counter(
    "visual_memory_residues_found_total",
    "Pieces of unlearned entries that a search found, which were erased then, or are certified.",
    ("place",),
)
MEASURES = (
    CALLS_STARTED,
    CALL_SECONDS,
    RECEIVED_BYTES,
    CALLS_REFUSED,
    SEARCH_QUERIES,
    SEARCH_WAIT_SECONDS,
    SEARCH_SECONDS,
    EMBED_SECONDS,
    PICTURES,
    OPERATIONS_ENDED,
    ERASED_ENTRIES,
    RESIDUES_FOUND,
    *index.MEASURES,
)
