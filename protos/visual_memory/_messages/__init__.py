"""Messages: Python values checked and turned into messages, and messages into values.

Imports protocol, files, types, v1. Alone: ``make test ROOM=client/messages``.
"""
