"""Files: what lies on the disk, SQLite files among them: opening, checksums, migrations, damage.

Imports errors alone. Alone: ``make test ROOM=index/files``.
"""
