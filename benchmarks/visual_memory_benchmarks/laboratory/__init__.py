"""The laboratory: what experiments share: galleries, questions, intervals, results.

Imports stimuli, distortions, metrics. Alone: ``make test ROOM=benchmarks/laboratory``.
"""
