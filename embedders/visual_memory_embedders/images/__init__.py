"""Images: decoded, turned upright, resized to what a network takes, and shrunk to thumbnails.

Imports errors and spec. Alone: ``make test ROOM=embedders/images``.
"""
