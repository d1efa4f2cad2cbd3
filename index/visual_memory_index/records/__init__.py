"""Records: entries, neighbours, requests, operations and filters, as every room passes them on.

Imports errors alone. Alone: ``make test ROOM=index/records``.
"""
