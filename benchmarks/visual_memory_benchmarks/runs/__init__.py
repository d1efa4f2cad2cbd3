"""Runs: tasks put to a server, resumed where they stopped, and their results.

Imports stimuli, sources, metrics, trials, files. Alone: ``make test ROOM=benchmarks/runs``.
"""
