"""Backends: each loads networks of one kind; a backend is imported when it is asked for.

The only room that imports torch, onnxruntime, timm or open_clip. Imports all others. Alone:
``make test ROOM=embedders/backends``.
"""
