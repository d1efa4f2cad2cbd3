"""Addresses of channels with their options, and oneofs of requests in words."""

from __future__ import annotations

import pytest

from visual_memory.protocol import channel_options, choices, is_address
from visual_memory.v1 import service_pb2 as pb


@pytest.mark.parametrize("target", ["host:1", "127.0.0.1:65535", "[::1]:50051", "unix:/tmp/socket"])
def test_a_host_with_a_port_or_a_scheme_of_grpc_is_an_address(target: str) -> None:
    assert is_address(target)


@pytest.mark.parametrize(
    "target", ["host", "host:0", "host:65536", "::1:50051", "ho st:1", "a:1\n"]
)
def test_what_lacks_a_port_that_there_is_or_could_not_be_shown_is_none(target: str) -> None:
    assert not is_address(target)


@pytest.mark.parametrize(
    ("target", "proxied"), [("localhost:1", False), ("[::1]:1", False), ("host:1", True)]
)
def test_this_machine_is_reached_without_a_proxy(target: str, proxied: bool) -> None:
    assert (("grpc.enable_http_proxy", 0) not in channel_options(target)) == proxied


def test_a_sentence_lists_what_a_oneof_may_hold() -> None:
    assert choices(pb.ClassifyRequest, "queries") == "images or vectors"
