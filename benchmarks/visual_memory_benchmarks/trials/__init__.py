"""Trials: what observers, human or not, answered to which stimulus.

Imports errors alone. Alone: ``make test ROOM=benchmarks/trials``.
"""
