"""Calls: the message that each call sends, with the reader of its answer.

Pure, for both clients. Imports _transport, _messages, protocol. Alone:
``make test ROOM=client/calls``.
"""
