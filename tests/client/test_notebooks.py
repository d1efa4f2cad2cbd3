"""Results show themselves in notebooks, and nothing in them is taken for HTML."""

from __future__ import annotations

from datetime import UTC, datetime
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
from PIL import Image

import visual_memory
from visual_memory.types import (
    Assessment,
    Decision,
    Entry,
    Explanation,
    Neighbors,
    Node,
    Suspect,
)

HOSTILE = "<script>alert(1)</script>\"'&\u202egpj"
TAGS = {"table", "caption", "thead", "tbody", "tr", "th", "td", "bdi", "img", "p"}


class Reader(HTMLParser):
    """Collects the tags, attributes and text of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags, self.attributes, self.text = set[str](), set[str](), ""
        self.sources = list[str]()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.sources += [value or "" for name, value in attrs if name == "src"]

    def handle_data(self, data: str) -> None:
        self.text += data


def jpeg() -> bytes:
    data = BytesIO()
    Image.new("RGB", (8, 8), "red").save(data, "JPEG")
    return data.getvalue()


def decision(count: int = 2) -> Decision:
    neighbors = Neighbors(
        [HOSTILE, *map(str, range(1, count))],
        [HOSTILE] * count,
        np.linspace(0, 1, count),
        np.ones(count),
    )
    node = Node(HOSTILE, 0, 1.0)
    return Decision(HOSTILE, 0.75, {HOSTILE: 1.5}, neighbors, 0.9, True, [HOSTILE], node)


def test_whatever_entries_are_called_it_is_shown_as_text() -> None:
    entry = Entry(HOSTILE, HOSTILE, {HOSTILE: HOSTILE}, datetime.now(UTC), "", HOSTILE)
    suspects = [Suspect(HOSTILE, HOSTILE, HOSTILE, 0.9, "")]
    explained = Explanation(decision(), None, [HOSTILE], HOSTILE, True, [], {HOSTILE: jpeg()})

    for shown in (
        entry,
        decision(),
        decision().neighbors,
        explained,
        Assessment(1, 0.5, 0.5, 0.1, [], suspects, [], ""),
    ):
        read = Reader(shown._repr_html_())

        assert read.tags <= TAGS
        assert read.attributes <= {"alt", "style", "src"}
        assert HOSTILE in read.text


def test_a_decision_says_all_that_it_says() -> None:
    read = Reader(decision(30)._repr_html_())

    for said in ("75.0% of the votes", "right in 90.0% of", "unlike all entries", "… and 10 more"):
        assert said in read.text


def test_only_pictures_are_shown_as_pictures() -> None:
    now = datetime.now(UTC)
    svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"

    shown = Reader(Entry("a", "b", {}, now, "", thumbnail=jpeg())._repr_html_())
    nothing = Reader(Entry("a", "b", {}, now, "", image=svg)._repr_html_())

    assert shown.sources[0].startswith("data:image/jpeg;base64,")
    assert "img" not in nothing.tags


def test_results_of_a_server_show_themselves() -> None:
    with visual_memory.connect() as client:
        memory = client.create_memory("pets", store_images=True)
        memory.insert([jpeg()], labels=["cat"], ids=["red"])
        (answer,) = memory.classify([jpeg()])

        assert "cat: 100.0% of the votes" in Reader(answer._repr_html_()).text
        for shown in (
            memory.get("red", include_thumbnail=True),
            memory.explain([jpeg()], include_thumbnails=True),
        ):
            assert Reader(shown._repr_html_()).sources
