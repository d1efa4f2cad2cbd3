"""Erasure: byte patterns of unlearned entries, and the search for these in files.

Imports ``rows``. Alone: ``make test ROOM=index/erasure``.
"""
