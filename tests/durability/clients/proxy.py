"""A proxy to a server that cuts a connection after so many bytes, also inside a message."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress

PREFACE_BYTES, HEADER_BYTES = 24, 9  # of HTTP/2: of a connection, and of each frame
DATA, END_STREAM = 0, 1
RESET = struct.pack("ii", 1, 0)  # close sends no FIN then


class Proxy:
    """Passes on one connection until ``bytes_max`` bytes went to the server; None is no limit.

    With a limit, the end of a stream is never passed on. If ``reset``, the connections end like
    those of a machine that is gone. ``passed`` counts the bytes.
    """

    def __init__(self, target: str, bytes_max: int | None = None, *, reset: bool = False) -> None:
        host, _, port = target.rpartition(":")
        self._target, self._bytes_max, self._reset = (host, int(port)), bytes_max, reset
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self.passed = 0
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def wait(self) -> None:
        """Wait until the connection is cut, or the client has left."""
        self._thread.join()

    def _serve(self) -> None:
        with self._listening:
            client, _ = self._listening.accept()
        server = socket.create_connection(self._target)
        answers = threading.Thread(target=pump, args=(server, client))
        answers.start()
        with suppress(OSError):
            self._pass_on(client, server)
        for end in (client, server):
            if self._reset:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        answers.join()
        client.close()
        server.close()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        with client.makefile("rb") as said:
            frame = said.read(PREFACE_BYTES)
            while frame and self._send(frame, server):
                header = said.read(HEADER_BYTES)
                frame = header + said.read(int.from_bytes(header[:3]))

    def _send(self, frame: bytes, server: socket.socket) -> bool:
        """Pass on a frame, as far as the limit allows; return True if all of it was sent."""
        part = frame
        if self._bytes_max is not None:
            ends = len(frame) >= HEADER_BYTES and frame[3] == DATA and frame[4] & END_STREAM
            part = frame[: min(self._bytes_max - self.passed, len(frame) - bool(ends))]
        server.sendall(part)
        self.passed += len(part)
        return len(part) == len(frame)


def pump(source: socket.socket, target: socket.socket) -> None:
    """Copy from ``source`` to ``target`` until either is closed."""
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
