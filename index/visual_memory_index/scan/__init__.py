"""The scan: the nearest rows to a query, by proof; exact distances in float64 decide.

``codes`` has the proof, ``kernels`` the loops; these and ``groups`` alone import Numba.
``row_kernels`` has the loops over ids, for the room ``ram``. Imports no other room.
Alone: ``make test ROOM=index/scan``.
"""
