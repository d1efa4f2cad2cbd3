"""Pictures: readers of folders, tables and Parquet files, for the commands.

Imports the terminal kit. Alone: ``make test ROOM=service/pictures``.
"""
