"""Records: entries, filters, queries, operations and requests, as plain values.

Imports errors alone. Alone: ``make test ROOM=index/records``.
"""
