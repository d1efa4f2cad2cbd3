"""Metrics: accuracy, consistency, shape bias and others, with intervals; pure functions of trials.

Imports trials. Alone: ``make test ROOM=benchmarks/metrics``.
"""
