"""Votes: one label from the labels and distances of neighbours, with confidence and label sets.

Pure functions of arrays. Imports records. Alone: ``make test ROOM=index/votes``.
"""
