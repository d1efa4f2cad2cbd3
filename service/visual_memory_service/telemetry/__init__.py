"""Telemetry: what the server measures, as Prometheus reads it.

Imports runtime, config and errors; the libraries are those of the extra ``telemetry``. Alone:
``make test ROOM=service/telemetry``.
"""
