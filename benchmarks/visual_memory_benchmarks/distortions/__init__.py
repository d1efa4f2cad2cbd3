"""Distortions of pictures whose effect on people or networks is published.

Imports errors alone. Alone: ``make test ROOM=benchmarks/distortions``.
"""
