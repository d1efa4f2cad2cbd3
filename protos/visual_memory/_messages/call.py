"""A call: a method of the service, its request, and the reader of its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, ParamSpec, Protocol, TypeVar, overload

from google.protobuf.message import Message

P = ParamSpec("P")
T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)
O_co = TypeVar("O_co", covariant=True)
D_co = TypeVar("D_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request to a method, and the reader of its answer.

    ``read`` converts the answer to the result. ``start`` is the number of items sent in earlier
    calls. If the method takes a stream, ``parts`` are the messages after ``request``.
    """

    method: str
    request: Message
    read: Callable[[Any], T]
    start: int = 0
    parts: Sequence[Message] = ()

    def sent(self) -> Message | Iterator[Message]:
        """Return the request for gRPC: a message, or a new iterator over several."""
        return iter((self.request, *self.parts)) if self.parts else self.request


class LongRunning(Protocol[P, R_co, O_co]):
    """A method that waits for its operation and returns the result, of type R_co.

    With ``wait=False`` the method returns the operation, of type O_co; type checkers then do not
    check the other arguments.
    """

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    @overload
    def __call__(self, *args: Any, wait: Literal[False], **kwargs: Any) -> O_co: ...


class WithDryRun(Protocol[P, R_co, O_co, D_co]):
    """A ``LongRunning`` method that returns D_co with ``dry_run=True``."""

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    @overload
    def __call__(self, *args: Any, wait: Literal[False], **kwargs: Any) -> O_co: ...
    @overload
    def __call__(self, *args: Any, dry_run: Literal[True], **kwargs: Any) -> D_co: ...
