"""The demo: a memory learns a class without training, and forgets it again.

Imports console and pictures; it starts a server of its own. Alone: ``make test ROOM=service/demo``.
"""
