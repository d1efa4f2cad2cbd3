"""The rows of a memory without gaps: numbers, arrays, exact distances, compiled loops.

``compiled`` compiles by Numba, and keeps the result on the disk. Imports no other room.
Alone: ``make test ROOM=index/rows``.
"""
