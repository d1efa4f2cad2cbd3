"""Pictures: what a folder, table or Parquet file holds, read by the commands.

Imports the terminal kit. Alone: ``make test ROOM=service/pictures``.
"""
