"""The console: arguments, files and pages that several commands share.

Imports pictures and the terminal kit. Alone: ``make test ROOM=service/console``.
"""
