"""Decisions: classifying, with calibration, drift, taxonomy and explanations.

Imports runtime; knows no message. Alone: ``make test ROOM=service/decisions``.
"""
