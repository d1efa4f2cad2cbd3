"""Filters after AIP-160: parsing of a text into a checked tree."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import eq, ge, gt, le, lt, ne
from types import MappingProxyType
from typing import TypeAlias

from visual_memory_index.errors import BadFilter

TEXT_MAX = 4096
# A level adds up to 7 to the stack of SQLite's parser, which before 3.46 ends at 100.
NESTING_MAX = 8

FIELDS = ("id", "label", "create_time", "pruned_by")
KEYWORDS = frozenset({"AND", "OR", "NOT"})
ORDER: Mapping[str, Callable[[str | int, str | int], bool]] = MappingProxyType(
    {
        "=": eq,
        "!=": ne,
        "<": lt,
        "<=": le,
        ">": gt,
        ">=": ge,
    }
)

UNSTORABLE = re.compile("[\0\ud800-\udfff]")
NAME = re.compile(r"""[^\s()"'\\=<>!:,.*]+""")
WORD = re.compile(r"""[^\s()"'\\=<>!,]+""")  # a value may be a time, with dots and colons
STRING = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'""", re.DOTALL)
CHARACTER = re.compile(r"\\?.", re.DOTALL)
OPERATOR = re.compile(r"!=|<=|>=|[=<>:]")
OPEN, CLOSE, MINUS, DOT, HAS = map(re.compile, (r"\(", r"\)", "-", r"\.", ":"))
TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


@dataclass(frozen=True, slots=True)
class Pattern:
    """The pieces of a text between its wildcards: ``"ca*"`` is ``("ca", "")``."""

    pieces: tuple[str, ...]

    def matches(self, text: str) -> bool:
        """Return True if ``text`` is the pieces in their order, with any text between them.

        Each piece is looked for where it comes first, so nothing is tried twice.
        """
        first, *middle, last = self.pieces
        at, end = len(first), len(text) - len(last)
        if at > end or not (text.startswith(first) and text.endswith(last)):
            return False
        for piece in middle:
            if (found := text.find(piece, at, end)) < 0:
                return False
            at = found + len(piece)
        return True


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison of one field of an entry with a value.

    ``field`` is one of ``FIELDS`` or "metadata"; then ``key`` is the metadata's key, and entries
    without it do not match. ``operator`` is one of = != < <= > >=; the filter's ``:`` is = with a
    pattern. A time is an int, the microseconds since 1970; a pattern comes only with = and !=.
    """

    field: str
    operator: str
    value: str | int | Pattern
    key: str | None = None

    def matches(self, text: str) -> bool:
        """Return True if a field with this ``text`` matches; texts compare by UTF-8 byte order."""
        if isinstance(self.value, Pattern):
            return self.value.matches(text) == (self.operator == "=")
        return ORDER[self.operator](text, self.value)


@dataclass(frozen=True, slots=True)
class Not:
    """Matches entries that ``part`` does not match."""

    part: Filter


@dataclass(frozen=True, slots=True)
class And:
    """Matches entries that every part matches."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Matches entries that at least one part matches."""

    parts: tuple[Filter, ...]


Filter: TypeAlias = And | Or | Not | Comparison


def parse(text: str) -> Filter | None:
    """Parse a filter; return None for blank text, which restricts nothing. Raises BadFilter."""
    if len(text) > TEXT_MAX:
        raise BadFilter(TEXT_MAX, f"a filter has at most {TEXT_MAX} characters.")
    if bad := UNSTORABLE.search(text):
        raise BadFilter(bad.start(), "NUL and lone surrogates are not allowed.")
    return Reader(text).filter() if text.strip() else None


class Reader:
    """A recursive-descent parser of one text, with a method for each rule of the grammar."""

    def __init__(self, text: str) -> None:
        self.text, self.position, self.nesting = text, 0, 0
        self.skip_space()

    def take(self, token: re.Pattern[str]) -> str | None:
        """Consume and return ``token``, with the space after it; return None if it is not next."""
        found = token.match(self.text, self.position)
        if found is None:
            return None
        self.position = found.end()
        self.skip_space()
        return found.group()

    def skip_space(self) -> None:
        while self.text[self.position : self.position + 1].isspace():
            self.position += 1

    def take_keyword(self, keyword: str) -> bool:
        found = NAME.match(self.text, self.position)
        return bool(found and found.group() == keyword and self.take(NAME))

    def filter(self) -> Filter:
        whole = self.expression()
        if self.position < len(self.text):
            raise BadFilter(self.position, "this parenthesis closes nothing.")
        return whole

    def expression(self) -> Filter:
        """Parse factors joined by AND or by nothing, up to the end or a closing parenthesis."""
        parts = [self.factor()]
        while self.position < len(self.text) and self.text[self.position] != ")":
            self.take_keyword("AND")
            parts.append(self.factor())
        return And(tuple(parts)) if len(parts) > 1 else parts[0]

    def factor(self) -> Filter:
        """Parse terms joined by OR, which AIP-160 binds tighter than AND."""
        parts = [self.term()]
        while self.take_keyword("OR"):
            parts.append(self.term())
        return Or(tuple(parts)) if len(parts) > 1 else parts[0]

    def term(self) -> Filter:
        negated = self.take_keyword("NOT") or self.take(MINUS)
        part = self.composite() if self.text.startswith("(", self.position) else self.comparison()
        return Not(part) if negated else part

    def composite(self) -> Filter:
        start = self.position
        self.take(OPEN)
        self.nesting += 1
        if self.nesting > NESTING_MAX:
            raise BadFilter(start, f"parentheses nest at most {NESTING_MAX} deep.")
        inner = self.expression()
        if not self.take(CLOSE):
            raise BadFilter(start, "this parenthesis is never closed.")
        self.nesting -= 1
        return inner

    def comparison(self) -> Comparison:
        start = self.position
        field = self.take(NAME)
        if field is None or field in KEYWORDS:
            raise BadFilter(start, 'a comparison such as label = "cat" is missing here.')
        if field.upper() in KEYWORDS:
            raise BadFilter(start, f"{field.upper()} is written in capitals.")
        if field == "metadata":
            return self.metadata()
        if field not in FIELDS:
            raise BadFilter(
                start, f'no field "{field}"; there are {", ".join(FIELDS)} and metadata.KEY.'
            )
        if field == "create_time":
            return Comparison(field, *self.time())
        return Comparison(field, *self.restriction())

    def metadata(self) -> Comparison:
        """Parse the rest of ``metadata:KEY`` or ``metadata.KEY``, an operator and a value."""
        if self.take(HAS):
            return Comparison("metadata", "=", Pattern(("", "")), self.key())
        if not self.take(DOT):
            raise BadFilter(self.position, "metadata goes on as metadata.KEY or metadata:KEY.")
        key = self.key()
        if self.text.startswith(".", self.position):
            raise BadFilter(self.position, 'a key with dots is quoted: metadata."a.b".')
        return Comparison("metadata", *self.restriction(), key)

    def key(self) -> str:
        start = self.position
        if pieces := self.string():
            return "*".join(pieces)
        key = self.take(NAME)
        if key is None:
            raise BadFilter(start, 'a metadata key is missing here; an odd one is quoted: "a*b".')
        return key

    def restriction(self) -> tuple[str, str | Pattern]:
        """Parse an operator and a text; return the operator and the text, or its ``Pattern``.

        ``:TEXT`` is returned as = with TEXT between two wildcards. Other operators than = and !=
        allow no wildcards.
        """
        operator = self.operator()
        start = self.position
        pieces = self.value()
        if operator == ":":
            operator, pieces = "=", ("", *pieces, "")
        if len(pieces) == 1:
            return operator, pieces[0]
        if operator not in ("=", "!="):
            raise BadFilter(
                start, rf'{operator} takes no wildcard; an asterisk itself is written "\*".'
            )
        return operator, Pattern(pieces)

    def time(self) -> tuple[str, int]:
        """Parse an operator and a time, in microseconds since the epoch."""
        start = self.position
        operator = self.operator()
        if operator == ":":
            raise BadFilter(start, "create_time is compared by = != < <= > >=.")
        start = self.position
        text = "*".join(self.value())
        try:
            if not TIME.fullmatch(text):
                raise ValueError(text)
            moment = datetime.fromisoformat(text.upper())
        except ValueError:
            raise BadFilter(
                start, f'"{text}" is not a time such as 2026-01-31T12:00:00Z, at most microseconds.'
            ) from None
        return operator, (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)

    def operator(self) -> str:
        operator = self.take(OPERATOR)
        if operator is None:
            raise BadFilter(self.position, "an operator is missing here: = != < <= > >= or :.")
        return operator

    def value(self) -> tuple[str, ...]:
        start = self.position
        if pieces := self.string():
            return pieces
        word = self.take(WORD)
        if word is None or word in KEYWORDS:
            hint = "one with odd characters is quoted."
            if self.text.startswith("=", start):
                hint = 'equality is one =, as in label = "cat".'
            raise BadFilter(start, f"a value is missing here; {hint}")
        return tuple(word.split("*"))

    def string(self) -> tuple[str, ...] | None:
        """Parse a quoted text, cut at its wildcards and unescaped; None if no quote is next."""
        if not self.text.startswith(('"', "'"), self.position):
            return None
        start = self.position
        quoted = self.take(STRING)
        if quoted is None:
            raise BadFilter(start, "this quote is never closed.")
        pieces = [""]
        for found in CHARACTER.finditer(quoted, 1, len(quoted) - 1):
            character = found.group()
            if character == "*":
                pieces.append("")
                continue
            if len(character) == 2 and character[1] not in "\"'\\*":
                raise BadFilter(
                    start + found.start(), r"a backslash stands only before \ and * and quotes."
                )
            pieces[-1] += character[-1]
        return tuple(pieces)
