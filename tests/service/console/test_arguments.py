"""The rule that the console says decided is the one by which the server decides."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import visual_memory_index as index
from visual_memory.terminal.arguments import flags
from visual_memory.types import DefaultRule, Rule
from visual_memory.v1 import service_pb2 as pb
from visual_memory_service.console.arguments import (
    RULE,
    add_rule,
    deciding_rule,
    in_filter,
    rule_flags,
)
from visual_memory_service.convert.decisions import to_rule

VALUES = {
    "k": st.integers(1, 90),
    "voting": st.sampled_from(list(index.VOTINGS)),
    "temperature": st.sampled_from([0.02, 0.07, 3.0]),
    "balance": st.sampled_from([0.0, 0.5, 1.0]),
    "head": st.sampled_from(index.HEADS),
    "ridge": st.sampled_from([0.5, 1.0, 10.0]),
    "head_temperature": st.sampled_from([0.05, 0.1]),
    "blend": st.sampled_from([0.0, 0.3, 0.5, 1.0]),
}


def parser() -> ArgumentParser:
    made = ArgumentParser()
    add_rule(made, "neighbours that vote")
    return made


def plain(rule: index.Rule) -> Rule:
    """Return a rule as the client gets it, without what makes no difference."""
    known: dict[str, Any] = dict.fromkeys(RULE) | rule.parameters()
    return Rule(**known)


@given(
    st.none() | st.builds(index.Rule, **VALUES).map(index.Rule.counted),
    st.fixed_dictionaries({}, optional=VALUES),
)
def test_the_rule_that_is_shown_is_the_one_by_which_the_server_decides(
    default: index.Rule | None, typed: dict[str, Any]
) -> None:
    rule = replace(default or index.Rule(), **typed)
    counted = {name: value for name, value in typed.items() if rule.counts(name)}
    decides = to_rule(pb.ClassifyRequest(**counted), default or index.Rule())
    options = parser().parse_args(flags(counted).split())
    known = None if default is None else DefaultRule(plain(default), datetime.now(UTC), 0)

    shown = deciding_rule(known, options)

    assert shown == plain(decides)
    assert rule_flags(shown) == flags(decides.parameters())


def test_a_flag_that_is_not_given_is_shown_with_the_default_of_the_server() -> None:
    help = " ".join(parser().format_help().split())

    assert list(RULE) == [each.name for each in fields(Rule)]
    assert {name: each.default for name, each in RULE.items()} == asdict(index.Rule())
    for each in ("50", "rank", "0.07", "0", "none", "1", "0.05", "0.5"):
        assert f"default: as tuned, else {each} " in f"{help} "
    assert help.count("default: as tuned, else ") == len(RULE) == help.count("default: ")


@pytest.mark.parametrize("voting", sorted(index.VOTINGS))
@pytest.mark.parametrize("head", index.HEADS)
def test_a_rule_is_shown_by_the_flags_that_count_alone(voting: str, head: str) -> None:
    rule = index.Rule(voting=voting, head=head)

    shown = rule_flags(
        deciding_rule(None, parser().parse_args(["--voting", voting, "--head", head]))
    )

    assert ("--temperature" in shown.split()) is (voting == "softmax")
    assert ("--ridge" in shown.split()) is (head == "discriminants")
    assert ("--blend" in shown.split()) is ("--head-temperature" in shown.split()) is rule.has_head


def test_a_label_in_a_filter_is_itself_and_no_pattern() -> None:
    assert in_filter('a"b*c\\d') == '"a\\"b\\*c\\\\d"'
