"""Decisions: classifying, with calibration, taxonomy and explanations.

Imports runtime; knows no message. Alone: ``make test ROOM=service/decisions``.
"""
