"""Texts in the forms in which files and programs write them, and places of probes in them."""

from __future__ import annotations

import itertools
import json

from visual_memory_index.erasure.probes import PROBE_BYTES, PROBE_DISTINCT_MIN

TEXT_BYTES_MIN = 12  # a shorter text could be there by chance
TEXT_PIECE = 256  # characters; longer texts are searched for in pieces, as files may split them
TEXT_STRETCHES = 4  # of each, for probes


def pieces_of(text: str) -> list[str]:
    """Cut a long text into pieces of 256 to 511 characters."""
    count = max(1, len(text) // TEXT_PIECE)
    bounds = [len(text) * number // count for number in range(count + 1)]
    return [text[start:end] for start, end in itertools.pairwise(bounds)]


def written(text: str) -> set[bytes]:
    """Return the bytes of a text in each form: UTF-8, JSON, and Python's internal encodings."""
    if text.isascii() and text.isprintable() and not {'"', "\\"} & set(text):
        return {text.encode()}
    escaped = [json.dumps(text, ensure_ascii=ascii)[1:-1] for ascii in (False, True)]
    top = max(text)
    coding = "latin-1" if top < "\u0100" else "utf-16-le" if top < "\U00010000" else "utf-32-le"
    return {text.encode(), text.encode(coding), *(each.encode() for each in escaped)}


def places_in(data: bytes, count: int) -> list[int]:
    """Return places for ``count`` probes in ``data``: one a quarter at most, the last first.

    In each quarter the place with the most different bytes is chosen, if each of its probes has
    enough.
    """
    last = len(data) - PROBE_BYTES - count + 1
    places = []
    for number in range(TEXT_STRETCHES, 0, -1):
        most = 0
        start, end = ((last + 1) * each // TEXT_STRETCHES for each in (number - 1, number))
        for at in range(end - 1, start - 1, -1):
            if (here := distinct(data, at)) > most and good_at(data, at, count):
                place, most = at, here
                if most == PROBE_BYTES:
                    break
        if most:
            places.append(place)
    return places


def good_at(data: bytes, place: int, count: int) -> bool:
    """Return True if each of ``count`` probes from ``place`` on has enough different bytes."""
    return all(distinct(data, place + number) >= PROBE_DISTINCT_MIN for number in range(count))


def distinct(data: bytes, at: int) -> int:
    """Count the different bytes among the 8 bytes at ``at``."""
    return len(set(data[at : at + PROBE_BYTES]))


def probes_at(data: bytes, place: int, count: int) -> list[int]:
    """Return ``count`` probes, 8 bytes each, the first of them at ``place``, as numbers."""
    places = range(place, place + count)
    return [int.from_bytes(data[at : at + PROBE_BYTES], "little") for at in places]
