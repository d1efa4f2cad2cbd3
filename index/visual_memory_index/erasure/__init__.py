"""Erasure: patterns of what erased entries could have left, and the search of files for them.

Imports no other room. Alone: ``make test ROOM=index/erasure``.
"""
