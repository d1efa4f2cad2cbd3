"""pgvector."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from engines.engine import FIELDS, THREADS, Engine, Ids, Vectors, Where, fields, padded

STARTED_SECONDS = 120.0


class Pgvector(Engine):
    """PostgreSQL with pgvector, without an index of the vectors; queries alone get workers."""

    name, package = "pgvector", "pgvector"
    compacts = True
    programs: ClassVar[Path] = Path("/usr/lib/postgresql")

    @property
    def version(self) -> str:
        with self._connect() as db:
            found = db.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
            return f"{found.fetchone()[0]}, PostgreSQL {db.info.server_version // 10_000}"

    def _program(self, name: str) -> str:
        newest = max(self.programs.glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
        return str(newest)

    def open(self) -> None:
        data = self.folder / "postgres"
        user = "postgres" if os.geteuid() == 0 else None  # root may not run it
        new = not data.exists()
        if new:
            data.mkdir()
            if user:
                for each in (data, *data.parents):
                    if each.stat().st_uid == 0 and str(each).startswith(str(self.folder)):
                        shutil.chown(each, "postgres")
            command = [self._program("initdb"), "-D", str(data), "-U", "bench", "-A", "trust"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, user=user)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self._port,
            "unix_socket_directories": "",
            "shared_buffers": "6GB",
            "min_parallel_table_scan_size": 0,
            "max_connections": 200,
            "max_wal_size": "8GB",
            "jit": "off",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self._server = subprocess.Popen(
            [self._program("postgres"), "-D", str(data), *options],
            stderr=subprocess.DEVNULL,
            user=user,
        )
        self._wait()
        if new:
            with self._connect() as db:
                db.execute("CREATE EXTENSION vector")
            self.make()
        self._local = threading.local()

    def make(self) -> None:
        columns = ", ".join(f"{name} integer" for name in FIELDS)
        with self._connect() as db:
            db.execute(
                f"CREATE TABLE {self.collection} (id bigint PRIMARY KEY, "
                f"vector vector({self.dimension}) STORAGE PLAIN, {columns})"
            )

    def another(self, name: str) -> Engine:
        return self._beside(name)

    def _wait(self) -> None:
        import psycopg

        until = time.monotonic() + STARTED_SECONDS
        while True:
            try:
                self._connect().close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)

    def _connect(self) -> Any:
        import psycopg

        return psycopg.connect(
            host="127.0.0.1", port=self._port, user="bench", dbname="postgres", autocommit=True
        )

    @property
    def _db(self) -> Any:
        if not hasattr(self._local, "db"):
            from pgvector.psycopg import register_vector

            self._local.db = self._connect()
            register_vector(self._local.db)
        return self._local.db

    def insert(self, first: int, vectors: Vectors) -> None:
        with self._db.cursor() as cursor:
            columns = ", ".join(("id", "vector", *FIELDS))
            command = f"COPY {self.collection} ({columns}) FROM STDIN WITH (FORMAT BINARY)"
            with cursor.copy(command) as rows:
                rows.set_types(["int8", "vector", *["int4"] * len(FIELDS)])
                for id, row in enumerate(vectors, first):
                    rows.write_row((id, row, *fields(id).values()))

    def settle(self) -> None:
        self._db.execute(f"VACUUM ANALYZE {self.collection}")

    def index_fields(self) -> None:
        for name in FIELDS:
            self._db.execute(f"CREATE INDEX ON {self.collection} ({name})")

    def tune(self, batch: int, clients: int) -> None:
        workers = 0 if clients > 1 else THREADS
        self._db.execute(f"SET max_parallel_workers_per_gather = {workers}")

    def search(self, queries: Vectors, k: int, where: Where = None) -> Ids:
        only = f"WHERE {where[0]} = {where[1]} " if where else ""
        ask = f"SELECT id FROM {self.collection} {only}ORDER BY vector <#> %s LIMIT {k}"
        found = [self._db.execute(ask, (query,), binary=True).fetchall() for query in queries]
        return padded([[id for (id,) in rows] for rows in found], k)

    def delete(self, ids: Sequence[int]) -> None:
        self._db.execute(f"DELETE FROM {self.collection} WHERE id = ANY(%s)", (list(ids),))

    def pids(self) -> list[int]:
        return [self._server.pid, *children_of(self._server.pid)]

    def close(self) -> None:
        if hasattr(self._local, "db"):
            self._local.db.close()
        self._server.send_signal(signal.SIGINT)
        self._server.wait(120)

    def compact(self) -> None:
        self._db.execute(f"VACUUM FULL {self.collection}")
        self._db.execute("CHECKPOINT")


def children_of(pid: int) -> list[int]:
    """Return the processes below a process."""
    found = [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    return [*found, *(below for child in found for below in children_of(child))]
