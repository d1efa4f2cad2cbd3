"""Access: the keys of callers, and what each caller may do.

Imports the index, config and errors; knows no message. Alone: ``make test ROOM=service/access``.
"""
