"""Laboratory: galleries, queries, intervals and results that experiments share.

Imports stimuli, distortions, metrics. Alone: ``make test ROOM=benchmarks/laboratory``.
"""
