"""The runtime: open memories, operations, backups, batches of searches, threads.

Imports the index, config and errors. Alone: ``make test ROOM=service/runtime``.
"""
