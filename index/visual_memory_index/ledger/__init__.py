"""The ledger: the digest of all entries, and the audit log with its Merkle tree.

Pure functions of bytes and texts. Imports records. Alone: ``make test ROOM=index/ledger``.
"""
