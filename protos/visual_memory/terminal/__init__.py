"""The terminal: arguments, output, progress and exit codes that both commands share.

Public for other commands; the client itself never imports it. Alone:
``make test ROOM=client/terminal``.
"""
