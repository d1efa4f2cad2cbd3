"""Votes: one label from the labels and distances of neighbours, with confidence, label sets, drift.

Pure functions of arrays. Imports records. Alone: ``make test ROOM=index/votes``.
"""
