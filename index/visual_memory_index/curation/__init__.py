"""Curation: which entries mislead, what each is worth, and what would change a decision.

Computations on a copy in RAM and on neighbour lists; no SQLite, no FAISS. Imports ram, store,
heads, votes, scan, records. Alone: ``make test ROOM=index/curation``.
"""
