"""The scan: the nearest rows to a query, by proof; exact distances in float64 decide.

``vectors`` has the protocols. Imports ``codes`` and ``rows``. Alone: ``make test ROOM=index/scan``.
"""
