"""Refusals of the service itself, in its own words; no status codes here."""

from __future__ import annotations

from collections.abc import Sequence

# Python's sentences for lack of memory; the first one also for too low a limit of processes.
NO_THREAD = ("can't start new thread", "can't allocate lock")


class RequestRefusal(Exception):
    """Base class of errors that refuse a request; nothing was changed."""


class ServiceFailed(Exception):
    """An unexpected error of the service itself."""

    def __init__(self) -> None:
        super().__init__("The service failed on its own side; its log says why.")


class BadField(RequestRefusal):
    """A field with a value that is not allowed: its path, and what it must be."""

    def __init__(self, path: str, wish: str) -> None:
        super().__init__(f"{path} {wish}.")
        self.path, self.wish = path, wish


class TooLarge(RequestRefusal):
    """A message with more bytes than one message may have."""

    def __init__(self, got: int, most: int) -> None:
        super().__init__(
            f"The message has {got} bytes, but at most {most} are read; split the batch into "
            "several messages, or use ImportEntries with a smaller batch in each."
        )


class AnswerTooLarge(RequestRefusal):
    """Queries of one message whose answers together exceed the limit."""

    def __init__(self, queries: int, each: int, what: str, most: int) -> None:
        fewer = ", or with a smaller k" if what == "neighbours" else ""
        super().__init__(
            f"{queries} queries with {each} {what} each are {queries * each}, but one message is "
            f"answered with at most {most}; ask fewer queries at once{fewer}."
        )


class TooManyOperations(RequestRefusal):
    """As many waiting operations as there may be, of one memory or of different ones."""

    def __init__(self, of: str, most: int) -> None:
        super().__init__(
            f"{most} operations {of} wait already, the most there may be; try again once some have "
            "ended, or cancel them."
        )


class NotCancellable(RequestRefusal):
    """An erasure cannot be cancelled: it would be left half done, without a certificate."""

    def __init__(self, operation: str) -> None:
        super().__init__(
            f'The operation "{operation}" erases entries, which cannot be cancelled; wait for it.'
        )


class UnknownPath(RequestRefusal):
    """An HTTP request for something that there is not."""

    def __init__(self, path: str) -> None:
        super().__init__(f"There is nothing at {path}; what there is tells /openapi.json.")


class WrongVerb(RequestRefusal):
    """An HTTP request with a verb that its path does not take."""

    def __init__(self, verb: str, verbs: Sequence[str]) -> None:
        super().__init__(f"This path takes {' and '.join(verbs)}, not {verb}.")
        self.verbs = verbs


class ForeignSite(RequestRefusal):
    """An HTTP request of a page from elsewhere, which a browser sends: its header and the value."""

    def __init__(self, header: str, site: str) -> None:
        way = "name it in http_origins"
        if header == "host":
            way = "make a key, or call the server by its address or as localhost"
        super().__init__(f"Pages of {site or 'no site'} may not call this server; {way}.")


class OtherVersion(RequestRefusal):
    """A model of the Open Inference Protocol in a version that its memory does not have now."""

    def __init__(self, memory: str, version: str, digest: str) -> None:
        super().__init__(
            f'The memory "{memory}" has the digest {digest} now, and not "{version}"; leave the '
            "version out for the memory as it is."
        )


class ServerStopping(RequestRefusal):
    """A call that came after the server began to stop."""

    def __init__(self) -> None:
        super().__init__(
            "The server is stopping and takes no more calls; try again once it has been started."
        )


class ConnectionsRenewed(RequestRefusal):
    """A stream was ended because the server is closing its connections."""

    def __init__(self) -> None:
        super().__init__(
            "The server is ending its connections, because it erased entries or is stopping, and "
            "this stream with them; begin it again."
        )


class ConnectionEnding(RequestRefusal):
    """A wait was ended because the server is closing the connection."""

    def __init__(self) -> None:
        super().__init__(
            "The server is ending this connection, because it erased entries or is stopping; ask "
            "again."
        )


class Overloaded(RequestRefusal):
    """A message that exceeds the limit of bytes together with the messages of other calls."""

    def __init__(self, most: int, key: str | None = None) -> None:
        whose = "calls" if key is None else f'the calls of the key "{key}"'
        super().__init__(
            f"The messages of {whose} may hold {most} bytes at once, and with this one they would "
            "hold more; try again in a moment."
        )


class ClientSilent(RequestRefusal):
    """A call that waited too long for its client."""

    def __init__(self) -> None:
        super().__init__(
            "The call was ended, since nothing was heard of its client for long; an import goes on "
            "with the same request_id."
        )


class OutOfMemory(RequestRefusal):
    """The system gave the server no more RAM, or no thread."""

    def __init__(self, lack: str = "not enough memory for this") -> None:
        super().__init__(
            f"The server has {lack}; try again when it has less to do, send less in one message, "
            "or let it have more."
        )


class NoEmbedder(RequestRefusal):
    """Images for a memory that takes vectors only."""

    def __init__(self, memory: str) -> None:
        super().__init__(
            f'The memory "{memory}" was made with a dimension, without an embedder; send vectors, '
            "or create a memory with an embedder."
        )


class BeingReembedded(RequestRefusal):
    """A second re-embedding of a memory while one runs."""

    def __init__(self, operation: str) -> None:
        super().__init__(
            f"The memory is being embedded anew by {operation}; wait until that has ended "
            f"(visual-memory operations wait {operation}), or cancel it."
        )


class ErasureWaits(RequestRefusal):
    """An operation that would replace a memory with an unlearning that has not ended."""

    def __init__(self, operation: str) -> None:
        super().__init__(
            f"{operation} has not ended, and goes on when the server is started again; restart it, "
            "and start this again."
        )


class ImagesNotStored(RequestRefusal):
    """A call that needs the pictures of a memory which stores none."""

    def __init__(self, memory: str) -> None:
        super().__init__(
            f'The memory "{memory}" keeps no pictures; that is decided when a memory is made, '
            "with store_images."
        )


class EmbedderNotAllowed(RequestRefusal):
    """An embedder that this server's configuration does not allow."""

    def __init__(self, name: str, allowed: Sequence[str]) -> None:
        super().__init__(
            f'This server does not build the embedder "{name}"; it builds {", ".join(allowed)}, of '
            "which efficientnet-lite1 and -lite2 need its extra lite. Whoever runs it can add one "
            "with --allow-embedder PATTERN."
        )


class NoCertificate(RequestRefusal):
    """An operation without a certificate: no unlearning, not done, or nothing was erased."""

    def __init__(self, name: str, state: str) -> None:
        super().__init__(
            f'The operation "{name}" ({state}) has no certificate; only an unlearning that is '
            "done and that erased something has one. What another erased before, its certificate "
            "names; list the operations of the kind unlearn."
        )


class UnknownReranker(RequestRefusal):
    """A re-ranker that this server's configuration does not name."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        knows = f"it asks {', '.join(known)}" if known else "it asks none"
        super().__init__(
            f'This server does not ask a re-ranker "{name[:80]}"; {knows}. Whoever runs it can add '
            "one with --reranker NAME=HOST:PORT."
        )


class CountsChanged(RequestRefusal):
    """A page token of misleading counts from a state of the memory that is no longer kept."""

    def __init__(self, memory: str) -> None:
        super().__init__(
            f'The entries of the memory "{memory}" changed, and the counts of the page before are '
            "no longer kept; begin again with the first page of the counts."
        )


class NotDone(RequestRefusal):
    """An operation that a call waited for has failed or was cancelled."""

    def __init__(self, name: str, state: str, problem: str | None) -> None:
        super().__init__(
            f'The operation "{name}", which this call waited for, '
            f"{'failed' if state == 'failed' else f'was {state}'}"
            f"{f': {problem}' if problem else '; ask again to start it anew.'}"
        )


class NotCalibrated(RequestRefusal):
    """A memory without the calibration that the wanted annotations need."""

    def __init__(self, memory: str, problem: str, flags: str) -> None:
        super().__init__(
            f'The memory "{memory}" {problem}; calibrate it for such decisions, with the queries '
            "or the --group-by of before, if there were any: "
            f"visual-memory calibrate {memory} {flags}"
        )


class NoKey(RequestRefusal):
    """A call without a key, of a server that has keys."""

    def __init__(self) -> None:
        super().__init__(
            "This server takes calls with a key only: for the command line --api-key-file FILE (or "
            "VISUAL_MEMORY_API_KEY_FILE, or VISUAL_MEMORY_API_KEY with the key itself), in Python "
            "api_key=, by HTTP the header and by gRPC the metadata authorization: Bearer KEY. "
            "Whoever runs it makes one with visual-memory keys create."
        )


class WrongKey(RequestRefusal):
    """A key that this server does not have."""

    def __init__(self) -> None:
        super().__init__(
            "The key is none of this server's; compare it with the one that visual-memory keys "
            "create printed, or have a new one made."
        )


class RevokedKey(RequestRefusal):
    """A key that was revoked, or rotated."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f'This key of "{name}" counts no longer, since it was revoked or rotated; use the new '
            "one, or have one made."
        )


class ExpiredKey(RequestRefusal):
    """A key whose time is over."""

    def __init__(self, name: str) -> None:
        super().__init__(f'The key "{name}" has expired; have a new one made, of another name.')


class KeysUnreadable(RequestRefusal):
    """The server cannot read its file of keys, so that it knows no caller."""

    def __init__(self) -> None:
        super().__init__(
            "The server cannot read its file of keys, and answers nobody until it can; its log "
            "says why."
        )


class WrongScope(RequestRefusal):
    """A call that no scope of the caller's key permits."""

    def __init__(self, name: str, scopes: Sequence[str], call: str, needed: Sequence[str]) -> None:
        super().__init__(
            f'The key "{name}" has the scope {" and ".join(scopes)}; {call} needs '
            f"{' or '.join(needed)}."
        )


class OtherMemories(RequestRefusal):
    """A call about a memory that the caller's key is not for, whether or not it exists."""

    def __init__(self, name: str, patterns: Sequence[str], memory: str) -> None:
        super().__init__(
            f'The key "{name}" is for the memories {", ".join(patterns)}, not for "{memory[:80]}".'
        )


class LimitReached(RequestRefusal):
    """A call beyond a limit of its caller, which may be tried again after some ``seconds``."""

    def __init__(self, name: str, limit: str, most: float, seconds: float) -> None:
        noun, second, _ = limit.partition("_per_second")
        what = f"{most:,.10g} {noun} {'a second' if second else 'at once'}"
        super().__init__(
            f'The key "{name}" may have {what}; try again in {seconds:,.1f} s, or ask who runs the '
            "server for a higher limit."
        )
        self.seconds = seconds


class RerankingRefusal(Exception):
    """Base class of errors of a re-ranker; the message is a sentence to act on."""


class ChatUnavailable(RerankingRefusal):
    """A chat server gave no answer; it may answer later."""

    def __init__(self, host: str, problem: str) -> None:
        super().__init__(f"The chat server at {host} {problem}.")


class BadChatAnswer(RerankingRefusal):
    """A chat server's answer is no order of the candidates."""

    def __init__(self, host: str, problem: str) -> None:
        super().__init__(f"The chat server at {host} answered with status 200, but {problem}.")


class BadRanking(Exception):
    """A re-ranker's answer from which no votes can be counted, noticed by the memories' server."""
