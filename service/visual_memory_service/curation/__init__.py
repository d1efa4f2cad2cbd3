"""Curation: prunes, relabels, values and assessments as operations.

Imports decisions and runtime; knows no message. Alone: ``make test ROOM=service/curation``.
"""
