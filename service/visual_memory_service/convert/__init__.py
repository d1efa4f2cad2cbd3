"""Conversion: the only place in the service that reads or writes the fields of messages.

Imports the rooms below for their types. Alone: ``make test ROOM=service/convert``.
"""
