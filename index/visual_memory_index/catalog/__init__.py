"""The catalog: the memories of a data folder, notes of their state, and marks of unlearned entries.

It imports all rooms but nothing imports it. Alone: ``make test ROOM=index/catalog``.
"""
