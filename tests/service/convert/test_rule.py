"""A rule is read from what a request sets, and from another rule for what it does not."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_memory.terminal.arguments import flags
from visual_memory.v1 import service_pb2 as pb
from visual_memory_index import HEADS, NUMBERS, VOTINGS, Rule
from visual_memory_service.cli import build_parser
from visual_memory_service.convert.decisions import to_rule
from visual_memory_service.errors import BadField

NAMES = [each.name for each in fields(Rule)]
REQUESTS = [
    pb.ClassifyRequest,
    pb.ExplainDecisionRequest,
    pb.AssessMemoryRequest,
    pb.CalibrateMemoryRequest,
]


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    """Draw a rule whose parameters that do not count are those by default."""
    numbers: Any = {name: draw(st.floats(each.least, each.most)) for name, each in NUMBERS.items()}
    k, voting = draw(st.integers(1, 1000)), draw(st.sampled_from(sorted(VOTINGS)))
    return Rule(k=k, voting=voting, head=draw(st.sampled_from(HEADS)), **numbers).counted()


@pytest.mark.parametrize("kind", REQUESTS)
@given(rule=rules(), default=rules())
def test_a_rule_that_is_set_as_a_whole_is_read_as_it_is(
    kind: Any, rule: Rule, default: Rule
) -> None:
    assert to_rule(kind(**rule.parameters()), default) == rule


@given(default=rules())
def test_a_request_that_sets_nothing_has_the_rule_by_default(default: Rule) -> None:
    assert to_rule(pb.ClassifyRequest(), default) == default
    assert to_rule(pb.ClassifyRequest()) == Rule()


@given(rule=rules(), default=rules(), data=st.data())
def test_what_is_set_replaces_what_is_by_default_and_no_more(
    rule: Rule, default: Rule, data: st.DataObject
) -> None:
    names = data.draw(st.sets(st.sampled_from(NAMES)))
    together: Any = {name: getattr(rule if name in names else default, name) for name in NAMES}
    expected = Rule(**together)
    sets: Any = {name: getattr(rule, name) for name in names if expected.counts(name)}

    assert to_rule(pb.ClassifyRequest(**sets), default) == expected.counted()


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_that_does_not_count_is_refused_and_the_limits_are_allowed(name: str) -> None:
    number = NUMBERS[name]
    uses: Any = {number.of: number.values[0]} if number.of else {}

    for value in (number.least, number.most):
        assert getattr(to_rule(pb.ClassifyRequest(**uses | {name: value})), name) == value
    for value in (number.least - 1e-9, number.most + 1e-9 * number.most, float("nan")):
        with pytest.raises(BadField, match=rf"^{name} must be from \S+ to \S+, but is"):
            to_rule(pb.ClassifyRequest(**uses | {name: value}))
    if number.of:
        with pytest.raises(BadField, match=rf"^{name} counts with {number.of}"):
            to_rule(pb.ClassifyRequest(**dict[str, Any]({name: number.most})))


@given(rule=rules(), default=rules())
def test_the_flags_of_a_rule_ask_for_it_whatever_is_the_default(rule: Rule, default: Rule) -> None:
    options = build_parser().parse_args(
        ["classify", "pets", "a.jpg", *flags(rule.parameters()).split()]
    )
    given: Any = {name: getattr(options, name) for name in NAMES}

    assert to_rule(pb.ClassifyRequest(**given), default) == rule
