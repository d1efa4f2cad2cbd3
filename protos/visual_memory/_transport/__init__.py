"""Transport: calls, streams and retries on a channel, blocking and for asyncio.

The only room of the client that talks to gRPC. Imports _messages, protocol, files. Alone:
``make test ROOM=client/transport``.
"""
