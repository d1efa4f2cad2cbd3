"""Oneofs of requests in words."""

from __future__ import annotations

from visual_memory.protocol.oneofs import choices
from visual_memory.v1 import service_pb2 as pb


def test_a_sentence_lists_what_a_oneof_may_hold() -> None:
    assert choices(pb.ClassifyRequest, "queries") == "images or vectors"
