"""Vectors that are searched in the memory of a device, such as a GPU, by PyTorch.

``indexes`` makes them beside the codes of ``scan``. Imports ``scan``, ``codes`` and ``rows``. It is
imported only where a server uses a device. Alone: ``make test ROOM=index/device``; on a GPU:
``make test-gpu``.
"""
