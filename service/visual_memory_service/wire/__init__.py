"""Wire: the gRPC servicer, and all that happens to a call before and after it.

Imports convert and below. Alone: ``make test ROOM=service/wire``.
"""
