"""Runtime: open memories, operations, backups, batches of searches, threads, the heap.

Imports the index, the embedders, status, config and errors.
Alone: ``make test ROOM=service/runtime``.
"""
