"""The commands of ``visual-memory``: options, output and exit code of each.

Imports console, pictures and the terminal kit; ``serve``, ``reranker``, ``check`` and ``accept``
alone import what a server needs. Alone: ``make test ROOM=service/commands``.
"""
