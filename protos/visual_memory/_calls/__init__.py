"""Calls: functions that build the request of a call, together with the reader of its answer.

They raise InvalidArgument for arguments that the request cannot hold. Pure, for both clients.
Imports _transport, _messages, protocol. Alone: ``make test ROOM=client/calls``.
"""
