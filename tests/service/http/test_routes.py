"""Each unary call has a route, and a path leads to it with what it says."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_memory.scopes import CALLS, SERVICE
from visual_memory_service.errors import BadField
from visual_memory_service.http.routes import Found, find, make_routes

ROUTES = make_routes()
UTF8 = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,62}", fullmatch=True)


def found(verb: str, path: str) -> tuple[str, dict[str, str]]:
    """Return the call that a request leads to, with what its path says."""
    leads = find(ROUTES, verb, path)
    assert isinstance(leads, Found), leads
    return leads.route.call, leads.values


def test_every_call_but_streams_of_answers_has_a_route() -> None:
    streams = {each.name for each in SERVICE.methods if each.server_streaming}

    assert {each.call for each in ROUTES} == set(CALLS) - streams - {"RestoreMemory"}
    assert len({(each.verb, each.template) for each in ROUTES}) == len(ROUTES)


@given(NAMES, UTF8)
def test_any_id_is_found_in_a_path(memory: str, id: str) -> None:
    for kept in ("", "/", "/:"):
        path = f"/v1/memories/{memory}/entries/{quote(id, safe=kept)}"
        assert found("GET", path) == ("GetEntry", {"memory": memory, "id": id})


@given(NAMES, NAMES)
def test_an_operation_has_a_name_with_a_slash(memory: str, id: str) -> None:
    for slash in ("/", "%2F", "%2f"):
        path, values = f"/v1/operations/{memory}{slash}{id}", {"name": f"{memory}/{id}"}
        assert found("GET", path) == ("GetOperation", values)
        assert found("POST", f"{path}:wait") == ("WaitOperation", values)
        assert found("GET", f"{path}/certificate")[0] == "GetCertificate"


@pytest.mark.parametrize("colon", [":", "%3A", "%3a"])
def test_a_verb_of_ours_comes_after_a_colon(colon: str) -> None:
    assert found("POST", f"/v1/memories/pets{colon}classify") == ("Classify", {"memory": "pets"})


def test_what_a_path_does_not_take_is_told() -> None:
    assert find(ROUTES, "DELETE", "/v1/memories/pets/taxonomy") == {"GET", "PUT"}
    for path in ("/", "/v1", "/v1/memories/", "/v1/memories/a/b", "/v1/memories/a%2Fb"):
        assert find(ROUTES, "GET", path) == set()


def test_other_bytes_than_utf8_are_refused() -> None:
    with pytest.raises(BadField, match="must be UTF-8"):
        find(ROUTES, "GET", "/v1/memories/pets/entries/%ff")
