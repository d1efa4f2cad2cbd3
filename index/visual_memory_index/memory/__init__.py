"""A memory: its entries are written, read, searched, checked and unlearned, by way of its engine.

A store that is true, and a copy in RAM that answers. Imports all rooms but the catalog. Alone:
``make test ROOM=index/memory``.
"""
