"""The copy in RAM: key, id, label and vector of every entry, changed after each commit.

``ram_copy`` has the vectors and ``columns`` the rest.

Imports scan and records. Alone: ``make test ROOM=index/ram``.
"""
