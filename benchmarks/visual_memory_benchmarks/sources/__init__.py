"""Sources: where data sets come from, downloaded, checked and unpacked.

Imports trials and files. Alone: ``make test ROOM=benchmarks/sources``.
"""
