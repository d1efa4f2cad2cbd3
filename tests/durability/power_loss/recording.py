"""A server under strace: its system calls in their order, and the moments of its answers.

An answer counts from the moment when the server hands it to the network: from then on a client may
have it, and whatever it stands for must be on the disk. The client's clock would tell it later, and
excuse a server that syncs after it has answered.

A call counts from its end, for before that nobody can rely on it. An fsync covers what ended before
it began.
"""

from __future__ import annotations

import os
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePath

import pytest
from tests.durability.power_loss.disk import Disk, File, Folder, Node, Resized, Written

OPENED, SENT = ("open", "openat"), "sendmsg"
UNDERSTOOD = (
    *("write", "pwrite64", "lseek", "ftruncate", "fallocate", "fsync", "fdatasync", "close"),
    *("rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir"),
)
REFUSED = (  # until somebody teaches ``Process`` what they do
    *("writev", "pwritev", "pwritev2", "truncate", "copy_file_range", "sendfile"),
    *("link", "linkat", "symlink", "symlinkat", "dup", "dup2", "dup3"),
)
STRACE = (
    *("strace", "-D", "-f", "-y", "-xx", "-s", "33554432", "--seccomp-bpf", "-e", "signal=none"),
    *("-e", "trace=" + ",".join([*OPENED, SENT, *UNDERSTOOD, *REFUSED])),
)

AT = ("at", "at2")  # how calls are named that take a path relative to a folder
LINE = re.compile(rb"(\d+) +(?:<\.\.\. \w+ resumed>|(\w+)\()(.*)", re.DOTALL)
UNFINISHED = b" <unfinished ...>"
RESULT = re.compile(rb"\) += (-?\d+)(?:<.*>)?(?: .*)?$", re.DOTALL)
DESCRIPTOR = re.compile(rb"(?:AT_FDCWD|(\d+))<([^>]*)>")
TEXT = re.compile(rb'"([^"]*)"')
NUMBER = re.compile(rb", (\d+)(?=[,)])")

DATA, PADDED = 0x0, 0x8  # of HTTP/2


def need(program: str) -> None:
    """Skip the test where a program is missing, but not in CI."""
    if shutil.which(program) is None:
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing(f"{program} is not installed")


@dataclass(frozen=True, slots=True)
class Call:
    """A successful system call; ``text`` is its arguments as strace prints them."""

    began: int
    ended: int
    name: str
    text: bytes
    result: int

    @property
    def moment(self) -> int:
        """Return the moment at which the call counts."""
        return self.began if self.name in (SENT, "close") else self.ended

    @property
    def descriptor(self) -> int:
        found = DESCRIPTOR.match(self.text)
        assert found, self.text
        return int(found[1])

    @property
    def begins_log(self) -> bool:
        """Return True if the call writes the head of a write-ahead log."""
        found = DESCRIPTOR.match(self.text)
        log = self.name == "pwrite64" and found and unhexed(found[2]).endswith(b"-wal")
        return bool(log) and (self.result, self.numbers()[-1]) == (32, 0)

    def paths(self) -> list[PurePath]:
        """Return the paths among the arguments, each joined to the folder of its descriptor."""
        folders = [PurePath(unhexed(each[2]).decode()) for each in DESCRIPTOR.finditer(self.text)]
        texts = [PurePath(unhexed(text).decode()) for text in TEXT.findall(self.text)]
        if not self.name.endswith(AT):
            return texts
        return [folder / text for folder, text in zip(folders, texts, strict=False)]

    def data(self) -> bytes:
        """Return the bytes written, of one buffer or several."""
        return b"".join(map(unhexed, TEXT.findall(self.text)))[: self.result]

    def numbers(self) -> list[int]:
        return [int(number) for number in NUMBER.findall(self.text)]


def unhexed(text: bytes) -> bytes:
    return bytes.fromhex(text.translate(None, b"\\x").decode())


def calls(log: bytes, since: int = 0) -> list[Call]:
    """Parse a log into its calls, in the order of their moments, which are line numbers."""
    found, unfinished = list[Call](), dict[bytes, tuple[int, bytes, bytes]]()
    for moment, line in enumerate(log.split(b"\n"), start=since):
        parts = LINE.fullmatch(line)
        if parts is None:
            continue
        thread, name, text = parts.groups()
        if text.endswith(UNFINISHED):
            unfinished[thread] = (moment, name, text.removesuffix(UNFINISHED))
            continue
        began = moment
        if name is None:
            began, name, head = unfinished.pop(thread)
            text = head + text
        result = RESULT.search(text[-4096:])
        if result and int(result[1]) >= 0:
            text = text[: -len(result[0])] + b")"
            found.append(Call(began, moment, name.decode(), text, int(result[1])))
    return sorted(found, key=lambda call: call.moment)


class Process:
    """A recorded process, whose calls below ``root`` are repeated on the model of a disk."""

    def __init__(self, disk: Disk, root: Path) -> None:
        self._disk, self._root = disk, root
        self._open: dict[int, Node] = {}
        self._positions: dict[int, int] = {}

    def do(self, call: Call) -> bool:
        """Repeat a call on the disk; return True if the call was about it."""
        if call.name in OPENED:
            return self._do_open(call)
        if call.text.startswith(b'"') or call.name.endswith(AT):
            if ours := any(path.is_relative_to(self._root) for path in call.paths()):
                self._do_name(call, [path.relative_to(self._root) for path in call.paths()])
            return ours
        if call.name == SENT or call.descriptor not in self._open:
            return False
        self._do_content(call, self._open[call.descriptor])
        return True

    def _do_open(self, call: Call) -> bool:
        (path,) = call.paths()
        self._open.pop(call.result, None)
        if not path.is_relative_to(self._root):
            return False
        path = path.relative_to(self._root)
        node = self._disk.find(path)
        if node is None:
            assert b"O_CREAT" in call.text
            node = File()
            self._disk.make(path, node, call.moment)
        if b"O_TRUNC" in call.text and isinstance(node, File) and node.cached:
            node.change(Resized(call.moment, 0))
        assert b"O_APPEND" not in call.text, "appending is not modelled"
        self._open[call.result], self._positions[call.result] = node, 0
        return True

    def _do_name(self, call: Call, paths: Sequence[PurePath]) -> None:
        match call.name:
            case "mkdir" | "mkdirat":
                self._disk.make(paths[0], Folder(), call.moment)
            case "unlink" | "unlinkat" | "rmdir":
                self._disk.remove(paths[0], call.moment)
            case "rename" | "renameat" | "renameat2":
                self._disk.rename(paths[0], paths[1], call.moment)
            case _:
                raise NotImplementedError(f"what {call.name} does is not modelled")

    def _do_content(self, call: Call, node: Node) -> None:
        match call.name, node:
            case "pwrite64", File():
                node.change(Written(call.moment, call.numbers()[-1], call.data()))
            case "write", File():
                at = self._positions[call.descriptor]
                node.change(Written(call.moment, at, call.data()))
                self._positions[call.descriptor] = at + call.result
            case "lseek", _:
                self._positions[call.descriptor] = call.result
            case "ftruncate" | "fallocate", File():
                node.change(Resized(call.moment, call.numbers()[-1]))
            case "fsync" | "fdatasync", _:
                self._disk.sync(node, before=call.began)
            case "close", _:
                del self._open[call.descriptor]
            case _:
                raise NotImplementedError(f"what {call.name} does is not modelled")


def answers(sends: Sequence[Call]) -> Mapping[tuple[int, int, int], int]:
    """Map each message that the server sent to its moment: by connection, call and message.

    Connections are numbered in the order in which the server first sent to them.
    """
    moments, connections = dict[tuple[int, int, int], int](), dict[bytes, Connection]()
    for call in sends:
        descriptor = DESCRIPTOR.match(call.text)
        assert descriptor
        connection = connections.setdefault(descriptor[2], Connection())
        number = list(connections).index(descriptor[2])
        for stream, message in connection.receive(call.data()):
            moments[number, stream // 2, message] = call.moment
    return moments


class Connection:
    """Counts the gRPC messages that a server sends on one HTTP/2 connection."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._streams = defaultdict[int, bytearray](bytearray)
        self._counts = defaultdict[int, int](int)

    def receive(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Yield the stream and number of each message that these bytes complete."""
        self._bytes += data
        while len(self._bytes) >= 9:
            length = 9 + int.from_bytes(self._bytes[:3], "big")
            if len(self._bytes) < length:
                return
            frame, self._bytes = self._bytes[:length], self._bytes[length:]
            assert not frame[4] & PADDED or frame[3] != DATA
            if frame[3] == DATA:
                yield from self._messages(int.from_bytes(frame[5:9], "big"), frame[9:])

    def _messages(self, stream: int, data: bytearray) -> Iterator[tuple[int, int]]:
        rest = self._streams[stream]
        rest += data
        while len(rest) >= 5 and len(rest) >= (length := 5 + int.from_bytes(rest[1:5], "big")):
            del rest[:length]
            yield stream, self._counts[stream]
            self._counts[stream] += 1


class Recorder:
    """Runs Python under strace, whose log is read from a pipe that closes with the process."""

    def __init__(self, folder: Path, python: str) -> None:
        self._pipe = folder / "strace"
        os.mkfifo(self._pipe)
        self.python = folder / "python"
        self.python.write_text(
            f'#!/bin/sh\nexec {" ".join(STRACE)} -o {self._pipe} {python} "$@"\n'
        )
        self.python.chmod(0o700)
        self._reader = ThreadPoolExecutor(1)

    def begin(self) -> Future[bytes]:
        """Return the future log of the process to be started next."""
        return self._reader.submit(self._pipe.read_bytes)
