"""The wire format of the last release is still supported."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc

from wire_compat import RELEASED, files, wire_lines

ZOO = """
syntax = "proto3";
package zoo;
service Zoo {
  rpc Feed(Animal) returns (Meal);
  rpc Watch(stream Animal) returns (stream Meal);
}
message Animal {
  string name = 1;
  int32 legs = 2;
  optional int32 age = 3;
  repeated string toys = 4;
  map<string, string> tags = 5;
  Kind kind = 6;
  oneof home {
    Cage cage = 7;
    string tank = 8;
  }
  message Nest {}
  enum Kind {
    KIND_UNSPECIFIED = 0;
    BIRD = 1;
  }
}
message Cage {}
message Meal {}
message Visitor {}
enum Weather {
  SUN = 0;
}
"""
BREAKS = {
    "a field removed": ("string name = 1;", ""),
    "a field renamed": ("string name = 1;", "string title = 1;"),
    "a field renumbered": ("string name = 1;", "string name = 9;"),
    "a scalar of another type": ("int32 legs = 2;", "int64 legs = 2;"),
    "a message of another type": ("Cage cage = 7;", "Visitor cage = 7;"),
    "an enum of another type": ("Kind kind = 6;", "Weather kind = 6;"),
    "a field no longer optional": ("optional int32 age", "int32 age"),
    "a field no longer repeated": ("repeated string toys", "string toys"),
    "a map of other values": ("map<string, string>", "map<string, bytes>"),
    "a field into a oneof": ("optional int32 age = 3;", "oneof life { int32 age = 3; }"),
    "a field out of its oneof": (
        "  oneof home {\n    Cage cage = 7;",
        "Cage cage = 7;\n  oneof home {",
    ),
    "an enum value removed": ("BIRD = 1;", ""),
    "an enum value renamed": ("BIRD = 1;", "FOWL = 1;"),
    "an enum value renumbered": ("BIRD = 1;", "BIRD = 2;"),
    "an enum removed": ("enum Weather {\n  SUN = 0;\n}", ""),
    "a message removed": ("message Visitor {}", ""),
    "a nested message removed": ("message Nest {}", ""),
    "a call removed": ("rpc Feed(Animal) returns (Meal);", ""),
    "a call renamed": ("rpc Feed(", "rpc Nourish("),
    "a call of another request": ("Feed(Animal)", "Feed(Visitor)"),
    "a call of another response": ("(Animal) returns (Meal)", "(Animal) returns (Visitor)"),
    "requests no longer streamed": ("Watch(stream Animal)", "Watch(Animal)"),
    "responses no longer streamed": ("returns (stream Meal)", "returns (Meal)"),
    "a service removed": (ZOO[ZOO.index("service") : ZOO.index("message Animal")], ""),
    "a package renamed": ("package zoo;", "package park;"),
}
ADDITIONS = {
    "a field": ("string name = 1;", "string name = 1; string title = 9;"),
    "a field in a oneof": ("string tank = 8;", "string tank = 8; string field = 9;"),
    "an enum value": ("BIRD = 1;", "BIRD = 1; FISH = 2;"),
    "a message": ("message Visitor {}", "message Visitor {} message Ticket {}"),
    "a call": ("service Zoo {", "service Zoo { rpc Visit(Visitor) returns (Meal);"),
    "a comment": ("message Meal {}", "// What it gets.\nmessage Meal {}"),
    "another order": ("message Meal {}\nmessage Visitor {}", "message Visitor {}\nmessage Meal {}"),
}


def read(folder: Path, text: str, name: str = "zoo.proto") -> set[str]:
    """Return the wire lines of a proto as the compiler reads it."""
    (folder / name).write_text(text, encoding="utf-8")
    written = folder / "descriptors"
    assert not protoc.main(["", f"-I{folder}", f"--descriptor_set_out={written}", name])
    return wire_lines(FileDescriptorSet.FromString(written.read_bytes()).file)


def test_nothing_is_gone_that_the_last_release_promised() -> None:
    """A missing line breaks a client. Until the first release, ``make wire-lock`` removes it."""
    released = set(RELEASED.read_text(encoding="utf-8").splitlines())

    gone = released - wire_lines(files())

    assert sorted(gone) == []


@pytest.mark.parametrize(("before", "after"), BREAKS.values(), ids=BREAKS)
def test_a_break_is_seen(before: str, after: str, tmp_path: Path) -> None:
    changed = ZOO.replace(before, after)

    gone = read(tmp_path, ZOO) - read(tmp_path, changed)

    assert changed != ZOO
    assert gone


def test_a_message_in_another_file_is_seen(tmp_path: Path) -> None:
    gone = read(tmp_path, ZOO) - read(tmp_path, ZOO, "park.proto")

    assert "zoo.Meal is a message in zoo.proto" in gone


@pytest.mark.parametrize(("before", "after"), ADDITIONS.values(), ids=ADDITIONS)
def test_an_addition_breaks_nothing(before: str, after: str, tmp_path: Path) -> None:
    changed = ZOO.replace(before, after)

    gone = read(tmp_path, ZOO) - read(tmp_path, changed)

    assert changed != ZOO
    assert gone == set()
