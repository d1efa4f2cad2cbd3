"""Files: records that are written whole or not at all, and locks.

Imports errors alone. Alone: ``make test ROOM=benchmarks/files``.
"""
