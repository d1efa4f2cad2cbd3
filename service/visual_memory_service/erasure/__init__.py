"""Erasure: unlearning as an operation, the search of the process's memory, and signing keys.

Imports decisions and runtime. Alone: ``make test ROOM=service/erasure``.
"""
