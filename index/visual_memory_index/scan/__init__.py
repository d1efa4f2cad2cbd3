"""The scan: the nearest rows to a query, by proof; exact distances in float64 decide.

The only room that imports FAISS, in ``faiss_scan``. Imports no other. Alone:
``make test ROOM=index/scan``.
"""
