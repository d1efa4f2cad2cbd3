"""Calls of one message: what each of them sends, with the reader of its answer.

Each raises InvalidArgument for a field of a type that its message cannot hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One message to one method, or several together, and how its answer reads.

    ``start`` items went before it.
    """

    method: str
    request: Message | Sequence[Message]
    read: Callable[[Any], T]
    start: int = 0

    def first(self) -> Message:
        """The message, or the first of them."""
        return self.request if isinstance(self.request, Message) else self.request[0]

    def sent(self) -> Message | Iterator[Message]:
        """What goes to gRPC, each time anew."""
        return self.request if isinstance(self.request, Message) else iter(self.request)
