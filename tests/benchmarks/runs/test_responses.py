from __future__ import annotations

import pytest

from visual_memory_benchmarks.runs.responses import Responder


@pytest.mark.parametrize(
    ("scores", "answer"),
    [
        ({"dog": 0.5, "cat": 0.5}, "dog"),
        ({"cat": 0.5, "dog": 0.5}, "cat"),
        ({"cat": 0.6, "dog": 0.4}, "cat"),
        ({}, "na"),
        ({"cat": 0.0}, "na"),
    ],
)
def test_the_label_that_decides_is_the_answer_where_each_is_a_category(
    scores: dict[str, float], answer: str
) -> None:
    assert Responder({"cat": "cat", "dog": "dog"}).respond(scores) == answer


def test_a_category_of_many_labels_has_the_mean_of_their_votes() -> None:
    responder = Responder({"pug": "dog", "poodle": "dog", "beagle": "dog", "tabby": "cat"})

    assert responder.respond({"pug": 0.4, "poodle": 0.3, "tabby": 0.3}) == "cat"
    assert responder.respond({"pug": 0.4, "poodle": 0.4, "beagle": 0.1, "tabby": 0.1}) == "dog"


def test_labels_that_stand_for_nothing_have_no_votes() -> None:
    responder = Responder({"sofa": "na", "tabby": "cat"})

    assert responder.respond({"sofa": 0.9, "tabby": 0.1}) == "cat"
    assert responder.respond({"sofa": 1.0}) == "na"
