"""Backends: each loads networks of one kind, and is imported only when one is built.

The only room that imports torch, onnxruntime, timm or open_clip. Imports all others. Alone:
``make test ROOM=embedders/backends``.
"""
