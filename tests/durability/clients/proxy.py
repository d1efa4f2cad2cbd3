"""A way to a server that is cut off after so many bytes, in the middle of a message or not."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress

PREFACE_BYTES, HEADER_BYTES = 24, 9  # of HTTP/2: of a connection, and of each frame
DATA, END_STREAM = 0, 1
RESET = struct.pack("ii", 1, 0)  # close sends no FIN then


class Proxy:
    """Takes one connection and passes on what both say, until ``bytes_max`` went to the server.

    Without it all is passed on; with it the end of a stream never is. ``reset`` has the connections
    end as those of a machine that is gone. ``passed`` counts.
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
        """Return once it is cut, or the client has gone."""
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
        """Whether it goes on."""
        part = frame
        if self._bytes_max is not None:
            ends = len(frame) >= HEADER_BYTES and frame[3] == DATA and frame[4] & END_STREAM
            part = frame[: min(self._bytes_max - self.passed, len(frame) - bool(ends))]
        server.sendall(part)
        self.passed += len(part)
        return len(part) == len(frame)


def pump(source: socket.socket, target: socket.socket) -> None:
    """Pass on until either side is gone."""
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
