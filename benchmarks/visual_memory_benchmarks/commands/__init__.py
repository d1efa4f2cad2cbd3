"""The commands of ``visual-memory-bench``, a module for each kind of work.

Imports all other rooms, and the terminal kit of the client. Alone:
``make test ROOM=benchmarks/commands``.
"""
