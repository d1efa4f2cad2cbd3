"""Runs: tasks put to a server, resumed after interruptions, and their results.

Imports stimuli, sources, metrics, trials, files. Alone: ``make test ROOM=benchmarks/runs``.
"""
