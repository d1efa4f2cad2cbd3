"""HTTP: JSON for curl and browsers, by the ``google.api.http`` rules of the protos.

Imports wire, runtime, status, config and errors; the libraries are those of the extra ``http``.
Alone: ``make test ROOM=service/http``.
"""
