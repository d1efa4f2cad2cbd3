"""Neighbours: neighbour-information files of two systems, read and compared.

Imports errors alone. Alone: ``make test ROOM=benchmarks/neighbors``.
"""
