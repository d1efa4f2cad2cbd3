"""Re-rankers to run: they compare a query with its candidates again, more closely.

Imports wire, decisions and the embedders. Alone: ``make test ROOM=service/rerankers``.
"""
