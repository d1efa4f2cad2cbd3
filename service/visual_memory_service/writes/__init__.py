"""Writes: entries inserted.

Imports runtime; knows no message. Alone: ``make test ROOM=service/writes``.
"""
