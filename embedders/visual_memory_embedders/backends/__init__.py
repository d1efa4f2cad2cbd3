"""Backends: each loads networks of one kind, and is imported only when such a network is built.

The only room that imports torch, onnxruntime, timm or open_clip. Imports all other rooms. Alone:
``make test ROOM=embedders/backends``.
"""
