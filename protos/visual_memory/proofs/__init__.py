"""Proofs: certificates and audit logs, verified without a server.

Imports files and errors. Alone: ``make test ROOM=client/proofs``.
"""
