"""The copy in RAM: key, id, label and vector of every entry, changed after each commit.

Imports scan and records. Alone: ``make test ROOM=index/ram``.
"""
