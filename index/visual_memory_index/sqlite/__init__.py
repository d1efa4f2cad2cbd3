"""SQLite: the store of one memory in one file, with its backups and its part of unlearning.

Imports store, files, ledger, erasure, records; all SQL of a memory is here. Alone:
``make test ROOM=index/sqlite``.
"""
