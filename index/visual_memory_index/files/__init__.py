"""Files on disk, SQLite databases among them: opening, checksums, migrations, damage.

Imports errors alone. Alone: ``make test ROOM=index/files``.
"""
