"""Erasure: byte patterns of unlearned entries, and the search of files for them.

Imports no other room. Alone: ``make test ROOM=index/erasure``.
"""
