"""Images: decoding, orientation, resizing for networks, and thumbnails.

Imports errors and spec. Alone: ``make test ROOM=embedders/images``.
"""
