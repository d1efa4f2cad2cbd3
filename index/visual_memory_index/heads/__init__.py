"""Heads: closed-form classifiers fitted to the statistics of a memory, with their statistics.

Pure functions of arrays. Imports scan and records. Alone: ``make test ROOM=index/heads``.
"""
