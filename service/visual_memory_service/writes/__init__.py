"""Writes: entries inserted, memories embedded anew.

Imports runtime; knows no message. Alone: ``make test ROOM=service/writes``.
"""
