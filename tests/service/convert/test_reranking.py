"""A re-ranker is sent complete candidates; its answer is a ranking of them, or refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_memory.v1 import reranker_pb2 as pb
from visual_memory_service.convert.reranking import (
    from_candidates,
    from_ranking,
    to_ranking,
    to_rerank,
)
from visual_memory_service.decisions.reranking import Candidate
from visual_memory_service.errors import BadField, BadRanking

IDS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20
)
CANDIDATES = st.lists(
    st.builds(Candidate, IDS, IDS, st.floats(0, 2), st.binary(max_size=3)),
    min_size=1,
    max_size=8,
    unique_by=lambda candidate: candidate.id,
)
WEIGHTS = st.floats(0, 1e300)


def three() -> list[Candidate]:
    return [Candidate(id, "cat", 0.5, b"picture") for id in "abc"]


def order(*ids: str) -> pb.RerankResponse:
    return pb.RerankResponse(order=pb.Order(ids=ids))


def weights(**given: float) -> pb.RerankResponse:
    return pb.RerankResponse(weights=pb.CandidateWeights(weights=given))


# There


@given(st.binary(min_size=1), CANDIDATES)
def test_a_query_and_its_candidates_arrive_as_they_were_sent(
    picture: bytes, candidates: list[Candidate]
) -> None:
    sent = from_candidates(picture, candidates).SerializeToString()

    if any(candidate.picture for candidate in candidates):
        assert to_rerank(pb.RerankRequest.FromString(sent)) == (picture, candidates)
    else:
        with pytest.raises(BadField, match=r"^candidates must hold one with a picture"):
            to_rerank(pb.RerankRequest.FromString(sent))


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"id": ""}, "candidates[1].id"),
        ({"id": "x" * 257}, "candidates[1].id"),
        ({"id": "a\0"}, "candidates[1].id"),
        ({"id": "a"}, "candidates[1].id"),
        ({"label": ""}, "candidates[1].label"),
        ({"distance": -0.1}, "candidates[1].distance"),
        ({"distance": 2.1}, "candidates[1].distance"),
        ({"distance": math.nan}, "candidates[1].distance"),
    ],
)
def test_a_field_that_cannot_be_is_named(change: Mapping[str, Any], path: str) -> None:
    request = from_candidates(b"query", three())
    for field, value in change.items():
        setattr(request.candidates[1], field, value)

    with pytest.raises(BadField) as caught:
        to_rerank(request)

    assert caught.value.path == path


def test_a_query_without_a_picture_is_refused() -> None:
    with pytest.raises(BadField, match=r"^picture must not be empty"):
        to_rerank(from_candidates(b"", three()))


def test_a_query_without_candidates_is_refused() -> None:
    with pytest.raises(BadField, match=r"^candidates must hold one with a picture"):
        to_rerank(from_candidates(b"query", []))


# And back


@given(CANDIDATES.flatmap(lambda each: st.tuples(st.just(each), st.permutations(each))))
def test_any_order_of_all_is_a_ranking(pair: tuple[list[Candidate], list[Candidate]]) -> None:
    candidates, ordered = pair
    ids = [candidate.id for candidate in ordered]

    sent = from_ranking(ids).SerializeToString()

    assert to_ranking(pb.RerankResponse.FromString(sent), candidates) == ids


@given(CANDIDATES, st.data())
def test_weights_of_all_are_a_ranking(candidates: list[Candidate], data: st.DataObject) -> None:
    given = {candidate.id: data.draw(WEIGHTS) for candidate in candidates}
    given[candidates[0].id] = data.draw(st.floats(1e-300, 1e300))

    sent = from_ranking(given).SerializeToString()
    ranking = to_ranking(pb.RerankResponse.FromString(sent), candidates)

    assert isinstance(ranking, Mapping)
    assert list(ranking.items()) == list(given.items())


@given(
    st.lists(st.sampled_from("abcdé"), max_size=4).map(lambda ids: order(*ids))
    | st.dictionaries(st.sampled_from("abcd"), st.floats() | WEIGHTS, max_size=4).map(
        lambda given: weights(**given)
    )
    | st.just(pb.RerankResponse())
)
def test_whatever_comes_back_is_a_ranking_that_can_be_voted_by_or_refused(
    response: pb.RerankResponse,
) -> None:
    try:
        ranking = to_ranking(response, three())
    except BadRanking:
        return
    assert sorted(ranking) == ["a", "b", "c"]
    if isinstance(ranking, Mapping):
        assert all(weight >= 0 for weight in ranking.values())
        assert 0 < sum(ranking.values()) < math.inf


@pytest.mark.parametrize(
    ("response", "sentence"),
    [
        (pb.RerankResponse(), "The re-ranker answered with neither an order nor weights."),
        (order(), 'The re-ranker left out 3 of 3 candidates, the first of them "a".'),
        (weights(), 'The re-ranker left out 3 of 3 candidates, the first of them "a".'),
        (order("c", "a"), 'The re-ranker left out 1 of 3 candidates, the first of them "b".'),
        (weights(c=1, a=2), 'The re-ranker left out 1 of 3 candidates, the first of them "b".'),
        (
            order("c", "a", "x", "b"),
            'The re-ranker answered with an id that it was not given: "x".',
        ),
        (
            weights(a=1, b=1, c=1, x=0),
            'The re-ranker answered with an id that it was not given: "x".',
        ),
        (order("c", "a", "c", "b"), 'The re-ranker named an id twice: "c".'),
        (
            weights(a=1, b=-1, c=1),
            'The re-ranker gave "b" the weight -1.0; weights must be finite and not negative.',
        ),
        (
            weights(a=1, b=math.nan, c=1),
            'The re-ranker gave "b" the weight nan; weights must be finite and not negative.',
        ),
        (
            weights(a=1, b=math.inf, c=1),
            'The re-ranker gave "b" the weight inf; weights must be finite and not negative.',
        ),
        (
            weights(a=0, b=0, c=-0.0),
            "The re-ranker gave weights whose sum is not finite or not above 0.",
        ),
        (
            weights(a=1e308, b=1e308, c=0),
            "The re-ranker gave weights whose sum is not finite or not above 0.",
        ),
    ],
)
def test_an_answer_that_is_no_ranking_is_told_in_a_sentence(
    response: pb.RerankResponse, sentence: str
) -> None:
    with pytest.raises(BadRanking) as caught:
        to_ranking(response, three())

    assert str(caught.value) == sentence


def test_an_id_in_a_sentence_stays_short_and_on_one_line() -> None:
    with pytest.raises(BadRanking) as caught:
        to_ranking(order("a\n" * 10_000), three())

    assert len(str(caught.value)) < 300
    assert len(str(caught.value).splitlines()) == 1
