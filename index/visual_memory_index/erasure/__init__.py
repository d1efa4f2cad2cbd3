"""Erasure: byte patterns of unlearned entries, and the search for these in files.

Imports no other room. Alone: ``make test ROOM=index/erasure``.
"""
