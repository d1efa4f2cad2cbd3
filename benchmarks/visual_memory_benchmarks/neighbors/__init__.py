"""Neighbours: lists of two systems, read and compared.

Imports errors alone. Alone: ``make test ROOM=benchmarks/neighbors``.
"""
