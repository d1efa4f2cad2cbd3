"""Erasure: unlearning as an operation, residues in files and RAM, certificates, signing keys.

Imports runtime; knows no message. Alone: ``make test ROOM=service/erasure``.
"""
