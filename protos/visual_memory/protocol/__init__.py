"""The protocol: what client and server have to agree on beside the messages.

Fingerprints of writes, addresses, metadata of calls. Imports v1. Alone:
``make test ROOM=client/protocol``.
"""
