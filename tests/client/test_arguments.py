"""Arguments of a wrong type are refused by the name of their field, in every method."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import pytest

from visual_memory import Client, InvalidArgument, Memory
from visual_memory._calls.curation import PruneHow
from visual_memory.options import DecisionOptions, RuleOptions, VoteOptions

if TYPE_CHECKING:
    from tests.client.conftest import Connect, Service

ROW = np.ones((1, 2), dtype=np.float32)
ONE: dict[str, Any] = {"vectors": ROW, "labels": ["cat"]}
WRONG = {"str": 5, "int": "a", "float": "a", "bool": "yes"}
NOT_SENT = {"progress", "wait", "atomic", "overwrite", "dry_run"}
KEYWORDS: dict[str, type] = {
    "Unpack[_curation.PruneHow]": PruneHow,
    "Unpack[options.DecisionOptions]": DecisionOptions,
    "Unpack[options.RuleOptions]": RuleOptions,
    "Unpack[options.VoteOptions]": VoteOptions,
}
PATHS = {  # of fields that are called otherwise on the wire
    ("backup", "name"): "memory",
    ("copy", "name"): "memory",
    ("wait", "operation"): "name",
    ("cancel", "operation"): "name",
    ("update", "id"): "entry.id",
    ("update", "label"): "entry.label",
    ("update", "metadata"): "entry.metadata",
}
OF_CLIENT: list[tuple[str, dict[str, Any]]] = [
    ("server_info", {}),
    ("create_memory", {"name": "pets"}),
    ("memories", {}),
    ("delete_memory", {"name": "pets"}),
    ("backup", {"name": "pets", "path": "pets.backup"}),
    ("restore", {"path": __file__, "name": "pets"}),
    ("copy", {"name": "pets", "new_name": "other"}),
    ("operation", {"name": "pets/x"}),
    ("operations", {"memory": "pets"}),
    ("wait", {"operation": "pets/x"}),
    ("cancel", {"operation": "pets/x"}),
    ("certificate", {"operation": "pets/x"}),
]
OF_MEMORY: list[tuple[str, dict[str, Any]]] = [
    ("info", {}),
    ("insert", ONE),
    ("get", {"id": "a"}),
    ("entries", {}),
    ("entry_page", {}),
    ("update", {"id": "a", "label": "cat"}),
    ("delete", {"ids": ["a"]}),
    ("purge", {"filter": "label = cat", "apply": True}),
    ("classify", {"vectors": ROW}),
    ("search", {"vectors": ROW}),
    ("embed", {"images": [b"x"]}),
    ("misleading_counts", {}),
    ("prune", {"method": "hard", "k": 5, "threshold": 5, "minus_correct": True}),
    ("prune", {"method": "random", "fraction": 0.5, "seed": 1}),
    (
        "prune",
        {
            "method": "prototype",
            "fraction": 0.5,
            "seed": 1,
            "clusters": 2,
            "keep": "easy",
            "balance": 0.1,
        },
    ),
    ("prune", {"method": "value", "fraction": 0.5, "value_k": 5}),
    ("prune", {"method": "ids", "ids": ["a"], "apply": True, "request_id": "once"}),
    ("values", ONE),
    ("explain", {"vectors": ROW}),
    ("assess", {}),
    ("judge_labels", {}),
    ("calibrate", ONE),
    ("tune", {}),
    ("reembed", {"embedder": "efficientnet-lite1", "former_name": "before"}),
    ("taxonomy", {}),
    ("set_taxonomy", {"parents": {"cat": "animal"}}),
    ("set_reranker", {"reranker": "fake"}),
    ("relabel", {"labels": {"a": "cat"}, "apply": True}),
    ("unlearn", {"ids": ["a"]}),
    ("audit_events", {}),
    ("verify_audit_log", {}),
    ("check", {}),
    ("undo", {"operation": "pets/x"}),
]


class Row(NamedTuple):
    """A call with one wrong argument, and the path of the field that the refusal names."""

    method: str
    arguments: dict[str, Any]
    path: str


def wishes(kind: type, method: str) -> dict[str, str]:
    """Map each argument of a method to its type, as annotated."""
    found = inspect.signature(getattr(kind, method)).parameters
    named = {name: str(each.annotation) for name, each in found.items() if name != "self"}
    for name, each in found.items():
        if each.kind is each.VAR_KEYWORD:
            hints = KEYWORDS[named.pop(name)].__annotations__
            named |= {option: plain(hint.__forward_arg__) for option, hint in hints.items()}
    return {name: kind for name, kind in named.items() if name not in NOT_SENT}


def plain(wish: str) -> str:
    """Return ``str`` for one of several words."""
    return re.sub(
        r"\b(Voting|Head|Reliability|CoverageBy|Conformal|PruneMethod|Keep)\b", "str", wish
    )


def rows(kind: type, calls: list[tuple[str, dict[str, Any]]]) -> Iterator[Row]:
    """Yield a call for each argument of each method, with a wrong value for that argument."""
    for method, right in calls:
        for name, wish in wishes(kind, method).items():
            wrong = WRONG.get(wish.removesuffix(" | None"), 5)
            path = PATHS.get((method, name), name)
            yield Row(method, {**right, **without(right, name), name: wrong}, path)


def without(right: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the arguments that must be left out if ``name`` is given."""
    return {"vectors": None} if name == "images" and "vectors" in right else {}


def call(target: Any, row: Row) -> object:
    answer = getattr(target, row.method)(**row.arguments)
    return list(answer) if isinstance(answer, Iterator) else answer


def identified(row: Row) -> str:
    how = f"-{row.arguments['method']}" if "method" in row.arguments else ""
    return f"{row.method}{how}-{row.path}"


def check_refused(target: Any, row: Row, service: Service) -> None:
    with pytest.raises(InvalidArgument) as caught:
        call(target, row)

    assert caught.value.reason == "BAD_FIELD"
    assert [path for path, _ in caught.value.field_violations] == [row.path]
    assert str(caught.value).startswith(f"{row.path} must ")
    assert set(service.requests) <= {"GetServerInfo"}


@pytest.mark.parametrize("row", [*rows(Client, OF_CLIENT)], ids=identified)
def test_every_argument_of_the_client_is_refused_by_its_field(
    client: Client, service: Service, row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    check_refused(client, row, service)


@pytest.mark.parametrize("row", [*rows(Memory, OF_MEMORY)], ids=identified)
def test_every_argument_of_a_memory_is_refused_by_its_field(
    pets: Memory, service: Service, row: Row
) -> None:
    check_refused(pets, row, service)


@pytest.mark.parametrize(("method", "right"), OF_MEMORY, ids=lambda each: str(each)[:20])
def test_the_name_of_a_memory_is_refused_by_every_method(
    client: Client, service: Service, method: str, right: dict[str, Any]
) -> None:
    path = "name" if method in ("info", "verify_audit_log") else "memory"

    check_refused(client.memory(cast(Any, 5)), Row(method, right, path), service)


def test_the_tables_have_every_method() -> None:
    for kind, calls in ((Client, OF_CLIENT), (Memory, OF_MEMORY)):
        methods = {name for name, each in vars(kind).items() if name[0] != "_" and callable(each)}
        beside = {"close", "memory", "verify"} if kind is Client else set()

        assert methods - beside == {method for method, _ in calls}


@pytest.mark.parametrize(
    ("argument", "value"), [("target", 5), ("api_key", 5), ("timeout", "a"), ("timeout", None)]
)
def test_what_a_connection_cannot_use_is_refused(
    connect: Connect, argument: str, value: Any
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        connect(**{"target": "127.0.0.1:1", argument: value})

    assert [path for path, _ in caught.value.field_violations] == [argument]


def test_a_keyword_that_there_is_not_is_refused_as_python_does(client: Client) -> None:
    memory = client.memory("pets")
    with pytest.raises(TypeError, match="unexpected keyword argument 'votes'"):
        memory.classify(vectors=ROW, votes="rank")  # type: ignore[call-arg]  # the point of it
    with pytest.raises(TypeError, match="unexpected keyword argument 'neighbors'"):
        memory.explain(vectors=ROW, neighbors=3)  # type: ignore[call-arg]  # of classify alone
