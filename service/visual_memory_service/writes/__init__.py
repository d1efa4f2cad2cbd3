"""Writes: entries inserted and deleted.

Imports runtime; knows no message. Alone: ``make test ROOM=service/writes``.
"""
