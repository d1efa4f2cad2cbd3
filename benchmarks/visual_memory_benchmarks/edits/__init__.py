"""Edits: a study of what edits of a memory do to its perception.

Imports metrics, stimuli, distortions, trials and files. Alone: ``make test ROOM=benchmarks/edits``.
"""
