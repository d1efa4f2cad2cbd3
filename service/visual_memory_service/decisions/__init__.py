"""Decisions: classifying, with calibration, drift, domains, taxonomy and explanations.

Imports runtime; knows no message. Alone: ``make test ROOM=service/decisions``.
"""
