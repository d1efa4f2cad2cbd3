"""Files on disk, SQLite databases above all: opening, checksums, migrations, damage.

Imports errors alone. Alone: ``make test ROOM=index/files``.
"""
