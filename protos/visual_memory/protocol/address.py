"""Addresses of servers, and the options of a channel to one."""

from __future__ import annotations

import re

MESSAGE_BYTES = "message-bytes"  # of metadata: a server makes room before it receives a message
ADDRESS = re.compile(r"(?:\[[^\[\]/\s]+\]|[^\[\]:/\s]+):(\d{1,5})", re.ASCII)
NAMED_BY_GRPC = re.compile(r"(?:dns|ipv[46]|unix):")
PORT_MAX = 65_535
LOOPBACK = re.compile(r"(dns:/*|ipv[46]:)?(localhost|127\.|\[::1\])|unix:")


def is_address(target: str) -> bool:
    """Return True for HOST:PORT, and for targets with a scheme of gRPC such as dns:."""
    if NAMED_BY_GRPC.match(target):
        return target.isprintable()
    found = ADDRESS.fullmatch(target)
    return found is not None and target.isprintable() and 0 < int(found[1]) <= PORT_MAX


def channel_options(target: str) -> list[tuple[str, int]]:
    """Return gRPC channel options for ``target``: no limit on messages sent, fast reconnects.

    Servers on this machine are reached without a proxy.
    """
    options = [
        ("grpc.max_send_message_length", -1),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
        ("grpc.keepalive_time_ms", 330_000),  # servers hang up on pings within 5 minutes
        ("grpc.keepalive_timeout_ms", 20_000),
    ]
    if LOOPBACK.match(target):
        options.append(("grpc.enable_http_proxy", 0))
    return options
