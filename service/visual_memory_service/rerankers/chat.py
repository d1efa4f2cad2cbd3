"""Re-ranker that has a chat model order the nearest candidates by their likeness to the query."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from visual_memory_service.decisions.reranking import Candidate, trade_places
from visual_memory_service.errors import BadChatAnswer
from visual_memory_service.rerankers.chat_server import ChatServer
from visual_memory_service.rerankers.pictures import encoded, look

QUESTION = (
    "Here is a picture, the query, and then numbered candidates, each with the label that somebody "
    "gave it. Order the candidates by how much what they show is alike to what the query shows."
)
REMINDER = (
    "Answer with a JSON array of the candidates' numbers alone, most alike first, such as [2, 1]."
)
ARRAY = re.compile(r"\[[0-9,\s]*\]")
SHOWN_MAX = 80

Part = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Chat:
    """Re-ranker that has a chat model on ``server`` order up to ``candidates_max`` candidates.

    Pictures are sent as JPEGs without metadata, of at most 1024 pixels a side.
    """

    server: ChatServer
    candidates_max: int

    def rerank(
        self, picture: bytes, candidates: Sequence[Candidate], *, deadline: float
    ) -> list[str]:
        """Order the nearest ``candidates_max`` with a picture; other candidates keep their places.

        Candidates that the answer leaves out follow in their former order.
        Raises BadField, ChatUnavailable, BadChatAnswer.
        """
        pictured = [at for at, candidate in enumerate(candidates) if candidate.picture]
        seen = pictured[: self.candidates_max]
        answer = self.server.ask(list(question(picture, candidates, seen)), deadline)
        try:
            named = [seen[number - 1] for number in numbers_in(answer, len(seen))]
        except ValueError as problem:
            raise BadChatAnswer(self.server.host, str(problem)) from None
        return trade_places(candidates, [*named, *(at for at in seen if at not in named)])


def question(
    picture: bytes, candidates: Sequence[Candidate], seen: Sequence[int]
) -> Iterator[Part]:
    """Yield a message's parts: the query, and candidates at positions ``seen``. Raises BadField."""
    yield text_part(QUESTION)
    yield image_part(picture, "picture")
    for number, at in enumerate(seen, 1):
        yield text_part(f"Candidate {number}, labelled {on_one_line(candidates[at].label)}:")
        yield image_part(candidates[at].picture, f"candidates[{at}].picture")
    yield text_part(REMINDER)


def text_part(text: str) -> Part:
    return {"type": "text", "text": text}


def image_part(picture: bytes, path: str) -> Part:
    """Return a picture as a part of a chat message: an upright JPEG in a data URI.

    Some servers take no other format, or ignore EXIF orientation. Raises BadField at ``path``.
    """
    data = b64encode(encoded(look(picture, path), "JPEG")).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}}


def on_one_line(text: str) -> str:
    """Return text as a JSON string in which characters that are not printable are escaped."""
    return json.dumps(text, ensure_ascii=not text.isprintable())


def numbers_in(answer: str, count: int) -> list[int]:
    """Return the numbers, of 1 to ``count``, in the one JSON array of an answer.

    Prose and a code fence may surround the array. Raises ValueError that says what is wrong.
    """
    arrays = ARRAY.findall(answer)
    shown = on_one_line(answer[:SHOWN_MAX])
    if len(arrays) != 1:
        raise ValueError(f"with {len(arrays)} arrays of numbers instead of one: {shown}")
    try:
        numbers: list[int] = json.loads(arrays[0])
    except ValueError:
        raise ValueError(f"its array is not JSON: {shown}") from None
    if not numbers:
        raise ValueError(f"its array is empty: {shown}")
    if not all(1 <= number <= count for number in numbers):
        raise ValueError(f"it names a number that is none of 1 to {count}: {shown}")
    if len({*numbers}) < len(numbers):
        raise ValueError(f"it names a number twice: {shown}")
    return numbers
