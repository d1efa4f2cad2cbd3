"""The store: protocols of the place where a memory is kept for good, and checks of its contents.

SQLite is one implementation; ``tests/index/conformance`` tests any other. Imports ledger, erasure,
records. Alone: ``make test ROOM=index/store``.
"""
