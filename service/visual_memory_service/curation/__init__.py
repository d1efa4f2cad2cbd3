"""Curation: prunes, relabels, values, judgements and assessments as operations.

Imports decisions and runtime; knows no message. Alone: ``make test ROOM=service/curation``.
"""
