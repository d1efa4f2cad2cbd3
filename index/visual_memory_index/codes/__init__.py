"""The codes of vectors, and a scan of them: rows that could be among the nearest, by proof.

``codes`` has the proof, ``kernels`` the loops, ``groups`` the instructions. Imports ``rows``.
Alone: ``make test ROOM=index/codes``.
"""
