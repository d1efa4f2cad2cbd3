"""The catalog: which memories a data folder has, what was noted of each, and what was unlearned.

It imports all rooms but nothing imports it. Alone: ``make test ROOM=index/catalog``.
"""
