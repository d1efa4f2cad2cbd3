"""The wire: the gRPC servicer, with what happens to every call before and after it.

Imports convert and below. Alone: ``make test ROOM=service/wire``.
"""
