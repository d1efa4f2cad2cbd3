"""The report: one page of all results, with pictures, made from written results alone.

Imports experiments and below. Alone: ``make test ROOM=benchmarks/report``.
"""
