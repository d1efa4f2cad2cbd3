"""The protocol: conventions of client and server beside the messages.

Fingerprints of writes, addresses, metadata of calls. Imports v1. Alone:
``make test ROOM=client/protocol``.
"""
