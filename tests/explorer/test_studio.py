"""Labelling configurations and annotations of Label Studio."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from visual_memory_explorer.studio import Labelling, Studio, StudioError

CONFIG = """<View><!-- of pictures --><Header value="What?"/><Image name="img" value="$picture"/>
<Choices name="note" toName="other"/><Choices name="kind" toName="img"/></View>"""


def annotation(id: int, at: str, *chosen: str, **more: Any) -> dict[str, Any]:
    regions = [{"from_name": "kind", "value": {"choices": list(chosen)}}] if chosen else []
    return {"id": id, "updated_at": at, "result": regions, **more}


def test_the_choices_of_an_image_are_found_and_chosen() -> None:
    labelling = Labelling.read(CONFIG)
    assert labelling == Labelling("kind", "img", "picture")
    (region,) = labelling.result("cat")
    assert region["value"] == {"choices": ["cat"]}


@pytest.mark.parametrize(
    ("config", "wrong"),
    [
        ("<View/>", "The project needs <Choices"),
        ("<View>", "is no XML"),
        ("", "is no XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><View>&b;</View>', "declares entities"),
        ('<View><Choices name="a" toName="text"/><Text name="text"/></View>', "needs <Choices"),
    ],
)
def test_another_configuration_is_refused(config: str, wrong: str) -> None:
    with pytest.raises(StudioError, match=wrong):
        Labelling.read(config)


def test_the_newest_annotation_with_one_choice_counts() -> None:
    labelling = Labelling.read(CONFIG)
    older, newer = annotation(1, "2026-01-01", "cat"), annotation(2, "2026-01-02", "dog")
    skipped = annotation(3, "2026-01-03", "cow", was_cancelled=True)
    several, empty = annotation(4, "2026-01-04", "cat", "dog"), annotation(5, "2026-01-05")
    task = {"annotations": [newer, older, skipped, several, empty]}
    assert labelling.label(task) == ("dog", "2")
    assert labelling.label({"annotations": [several, empty]}) is None
    assert labelling.label({}) is None


@pytest.mark.parametrize(
    "address",
    [
        "http://other.example/a.jpg",
        "//other.example/a.jpg",
        "file:///etc/hosts",
        "ftp://here:8080/a",
    ],
)
def test_pictures_of_other_addresses_are_not_fetched(address: str) -> None:
    with pytest.raises(StudioError, match="is of another host"):
        asyncio.run(Studio("http://here:8080", "token").picture(address))
