"""Calls by HTTP answer what calls by gRPC do, and refuse what those refuse."""

from __future__ import annotations

import base64
import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import SECONDS, to_picture
from tests.web import Answer, WebServer, in_parts

import visual_memory
from visual_memory.v1 import service_pb2 as pb
from visual_memory_service.http.bodies import JSON_BYTES_MAX
from visual_memory_service.http.routes import VARIABLE, Route, make_routes

ROWS = np.random.default_rng(5).standard_normal((40, 16)).astype("<f4")
PICTURES = [to_picture(seed) for seed in range(4)]


@pytest.fixture(scope="module")
def pets(web: WebServer) -> Iterator[str]:
    """A memory of vectors."""
    web.done("POST", "/v1/memories", {"name": "pets", "dimension": 16})
    entries = [{"id": f"{at}", "label": "abcd"[at % 4]} for at in range(len(ROWS))]
    document = {"entries": entries, "vectors": ROWS.tolist()}
    web.done("POST", "/v1/memories/pets/entries:insert", document)
    yield "pets"
    web.done("DELETE", "/v1/memories/pets")  # these tests may not be one after another


@pytest.fixture(scope="module")
def album(web: WebServer) -> Iterator[str]:
    """A memory of pictures, as they were sent in parts."""
    document = {"name": "album", "embedder": "efficientnet-lite0", "storeImages": True}
    web.done("POST", "/v1/memories", document)
    entries = [{"id": f"{at}", "label": "xy"[at % 2]} for at in range(len(PICTURES))]
    body, kind = in_parts({"entries": entries}, *PICTURES)
    web.done("POST", "/v1/memories/album/entries:insert", body=body, content_type=kind)
    yield "album"
    web.done("DELETE", "/v1/memories/album")


def as_told(message: Any) -> Any:
    """Return a message by protobuf's own mapping, which vectors and bytes are not part of."""
    return json_format.MessageToDict(message, always_print_fields_with_no_presence=True)


def test_decisions_have_the_bits_of_grpc(web: WebServer, pets: str) -> None:
    queries = np.random.default_rng(6).standard_normal((7, 16)).astype("<f4")
    for more in ({}, {"k": 3}, {"k": 9, "voting": "softmax", "temperature": 0.1, "neighbors": 2}):
        asked = pb.ClassifyRequest(memory=pets, **more)
        asked.vectors.rows, asked.vectors.data = len(queries), queries.tobytes()
        document = {"vectors": queries.tolist(), **more}
        told = web.done("POST", f"/v1/memories/{pets}:classify", document)
        found = json_format.ParseDict(told, pb.ClassifyResponse())

        assert found == web.stub.Classify(asked)
        assert len(found.decisions) == len(queries)


def test_searches_entries_and_memories_are_told_as_by_grpc(web: WebServer, pets: str) -> None:
    query = pb.SearchRequest(memory=pets, k=4, filter='label = "a"')
    query.vectors.rows, query.vectors.data = 1, ROWS[:1].tobytes()
    document = {"vectors": ROWS[:1].tolist(), "k": 4, "filter": 'label = "a"'}
    listed = web.done("GET", f"/v1/memories/{pets}/entries?pageSize=7&includeVectors=true")
    page = web.stub.ListEntries(pb.ListEntriesRequest(memory=pets, page_size=7))

    assert web.done("POST", f"/v1/memories/{pets}:search", document) == as_told(
        web.stub.Search(query)
    )
    assert [each["id"] for each in listed["entries"]] == [each.id for each in page.entries]
    assert listed["nextPageToken"]
    stored = web.stub.GetEntry(pb.GetEntryRequest(memory=pets, id="3", include_vector=True))
    told = web.done("GET", f"/v1/memories/{pets}/entries/3?include_vector=true")
    assert np.array(told["vector"], "<f4").tobytes() == stored.vector
    for path, message in (
        ("/v1/server", web.stub.GetServerInfo(pb.GetServerInfoRequest())),
        (f"/v1/memories/{pets}", web.stub.GetMemory(pb.GetMemoryRequest(name=pets))),
        ("/v1/memories?pageSize=1", web.stub.ListMemories(pb.ListMemoriesRequest(page_size=1))),
    ):
        assert web.done("GET", path) == as_told(message)


def test_pictures_come_as_parts_or_in_base64(web: WebServer, album: str) -> None:
    asked = pb.ClassifyRequest(memory=album, k=3)
    asked.images.data.extend(PICTURES[:2])
    expected = web.stub.Classify(asked)
    body, kind = in_parts({"k": 3}, *PICTURES[:2])
    texts = [base64.b64encode(each).decode() for each in PICTURES[:2]]
    path = f"/v1/memories/{album}:classify"

    for told in (
        web.done("POST", path, body=body, content_type=kind),
        web.done("POST", path, {"k": 3, "images": texts}),
    ):
        assert json_format.ParseDict(told, pb.ClassifyResponse()) == expected
    stored = web.done("GET", f"/v1/memories/{album}/entries/1?includeImage=true")
    assert base64.b64decode(stored["image"]) == PICTURES[1]
    embedded = web.done("POST", f"/v1/memories/{album}:embed", {"images": texts})
    whole = web.stub.Embed(pb.EmbedRequest(memory=album, images=asked.images)).vectors
    assert np.array(embedded["vectors"], "<f4").tobytes() == whole.data


def test_an_entry_is_changed_deleted_and_purged(web: WebServer) -> None:
    web.done("POST", "/v1/memories", {"name": "changing", "dimension": 2})
    entries = "/v1/memories/changing/entries"
    document = {"entries": [{"id": "a/b", "label": "cat", "metadata": {"by": "me"}}]}
    web.done("POST", f"{entries}:insert?requestId=once", {**document, "vectors": [[1, 0]]})
    again = web.done("POST", f"{entries}:insert?requestId=once", {**document, "vectors": [[1, 0]]})
    changed = web.done("PATCH", f"{entries}/a/b?updateMask=label", {"label": "dog"})
    (listed,) = web.done("GET", f"{entries}?filter=label%20%3D%20%22dog%22")["entries"]

    assert again["ids"] == ["a/b"]
    assert (changed["label"], changed["metadata"]) == ("dog", {"by": "me"})
    assert listed["id"] == "a/b"
    shown = web.done("POST", f"{entries}:purge", {"filter": 'label = "dog"'})
    assert (shown["purgeCount"], shown["applied"]) == ("1", False)
    assert web.done("POST", f"{entries}:delete", {"ids": ["a/b"]}) == {"deletedCount": "1"}
    assert web.done("DELETE", "/v1/memories/changing") == {}
    assert web.ask("GET", "/v1/memories/changing").status == 404


def waited(web: WebServer, operation: Any) -> Any:
    """Return an operation once it has ended; asked again where the server renews connections."""
    for _ in range(50):
        answer = web.ask("POST", f"/v1/operations/{operation['name']}:wait", {"timeout": "5s"})
        if answer.status == 200 and answer.document["state"] != "RUNNING":
            return answer.document
        assert answer.status in (200, 503), answer
        time.sleep(0.1)
    raise AssertionError


def test_an_unlearning_leaves_nothing_in_the_ram_that_http_filled(tmp_path: Path) -> None:
    web = WebServer(tmp_path / "data")
    web.done("POST", "/v1/memories", {"name": "kept", "dimension": 64})
    rows = np.random.default_rng(9).standard_normal((300, 64))
    entries = [{"id": f"secret-{at}", "label": "person"} for at in range(300)]
    document = {"entries": entries, "vectors": rows.tolist()}
    kept = web.connect()
    for path, sent in (
        ("/v1/memories/kept/entries:insert", document),
        ("/v1/memories/kept:classify", {"vectors": rows[:50].tolist()}),
    ):
        head = {"content-type": "application/json"}
        kept.request("POST", path, json.dumps(sent).encode(), head)
        assert kept.getresponse().read()
    ids = {"ids": [f"secret-{at}" for at in range(200)]}
    shown = web.done("POST", "/v1/memories/kept/entries:unlearn", ids)
    begun = web.done("POST", "/v1/memories/kept/entries:unlearn", {**ids, "apply": True})

    done = waited(web, begun)
    told = web.done("GET", f"/v1/operations/{begun['name']}/certificate")
    certificate = json.loads(told["json"])

    assert (shown["unlearn"]["count"], shown["unlearn"]["applied"]) == ("200", False)
    assert (done["state"], done["unlearn"]["count"]) == ("DONE", "200")
    assert (certificate["erasure"], certificate["found"]) == ("files+memory", 0)
    assert certificate["looked_for"] >= 200
    with visual_memory.connect(web.address) as client:
        assert client.memory("kept").info().count == 100
    kept.close()
    assert web.end() == 0


REFUSED: list[tuple[str, str, Any, int, str]] = [
    ("GET", "/v1/memories/nobody", None, 404, "UNKNOWN_MEMORY"),
    ("GET", "/v1/nothing", None, 404, "UNKNOWN_PATH"),
    ("DELETE", "/v1/memories/pets/entries", None, 405, "WRONG_VERB"),
    ("POST", "/v1/memories", {"name": "pets", "dimension": 3}, 409, "MEMORY_EXISTS"),
    ("POST", "/v1/memories", {"name": "pets", "size": 3}, 400, "BAD_FIELD"),
    ("POST", "/v1/memories", [], 400, "BAD_FIELD"),
    ("POST", "/v1/memories/pets:classify", {}, 400, "BAD_FIELD"),
    ("POST", "/v1/memories/pets:classify", {"vectors": [[1, 2]]}, 400, "WRONG_DIMENSION"),
    ("POST", "/v1/memories/pets:classify", {"vectors": [[1e39] * 16]}, 400, "BAD_FIELD"),
    ("POST", "/v1/memories/pets:classify", {"memory": "others"}, 400, "BAD_FIELD"),
    ("POST", "/v1/memories/pets:classify?k=5", {"vectors": [[1] * 16]}, 400, "BAD_FIELD"),
    ("GET", "/v1/memories/pets/entries?pageSize=many", None, 400, "BAD_FIELD"),
    ("GET", "/v1/memories/pets/entries?pageSize=1&pageSize=2", None, 400, "BAD_FIELD"),
    ("GET", "/v1/memories/pets/entries?size=1", None, 400, "BAD_FIELD"),
    ("GET", "/v1/memories/pets/entries?filter=%ff", None, 400, "BAD_FIELD"),
    ("GET", "/v1/memories/pets/entries?filter=label", None, 400, "BAD_FILTER"),
    ("GET", "/v1/memories/pets/entries/%ff", None, 400, "BAD_FIELD"),
    ("GET", "/v1/memories/pets", {"name": "pets"}, 400, "BAD_FIELD"),
    ("PATCH", "/v1/memories/pets/entries/a", {"id": "b", "label": "x"}, 400, "BAD_FIELD"),
    ("POST", "/v1/memories/pets:classify", {"temperature": 10**400}, 400, "BAD_FIELD"),
    ("POST", "/v1/operations/pets/nothing:cancel", {}, 404, "UNKNOWN_OPERATION"),
]


@pytest.mark.parametrize(("verb", "path", "document", "status", "reason"), REFUSED)
def test_what_cannot_be_done_is_refused_with_its_reason(
    verb: str, path: str, document: Any, status: int, reason: str, web: WebServer, pets: str
) -> None:
    answer = web.ask(verb, path, document)

    assert (answer.status, answer.reason) == (status, reason), answer
    assert answer.document["message"].endswith(".")
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("verb", ["PUT", "OPTIONS", "TRACE", "QUERY"])
def test_a_verb_that_is_not_taken_is_answered_with_those_that_are(
    verb: str, web: WebServer
) -> None:
    assert web.ask(verb, "/v1/memories").headers["allow"] == "GET, POST"
    assert web.ask(verb, "/healthz").headers["allow"] == "GET"


def test_a_head_is_answered_without_a_body(web: WebServer) -> None:
    connection = web.connect()
    connection.request("HEAD", "/v1/memories")
    answer = connection.getresponse()

    assert (answer.status, answer.read()) == (200, b"")
    connection.close()


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        (in_parts({"k": 3, "images": ["AAAA"]}, b"x"), "send one of both"),
        (in_parts([]), "must be a JSON object"),
        (in_parts({"k": 3, "excludeIds": ["x" * JSON_BYTES_MAX]}), "has more than"),
        (in_parts(None, b"x", name="picture"), 'named "request" or "image"'),
        ((in_parts({})[0] + b"more", "multipart/form-data"), "must say its boundary"),
        ((b"--edge", "multipart/form-data; boundary=edge"), "multipart"),
        ((b"no parts", "multipart/form-data; boundary=edge"), "multipart"),
        ((b"k=3", "application/x-www-form-urlencoded"), "must be application/json or multipart"),
        ((in_parts({}, b"not a picture")), "not a picture|image"),
    ],
)
def test_parts_that_are_of_no_use_are_refused(
    parts: tuple[bytes, str], sentence: str, web: WebServer, album: str
) -> None:
    body, kind = parts
    answer = web.ask("POST", f"/v1/memories/{album}:classify", body=body, content_type=kind)

    assert answer.status == 400
    assert any(each in answer.document["message"] for each in sentence.split("|")), answer


def raw(web: WebServer, verb: str, path: str, **headers: str) -> Answer:
    """Send a head alone, and return the answer."""
    connection = web.connect()
    connection.putrequest(verb, path)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    response = connection.getresponse()
    answer = Answer(response.status, response.headers, json.loads(response.read()))
    connection.close()
    return answer


@pytest.mark.parametrize(
    ("headers", "sentence"),
    [
        ({"Content-Length": f"{JSON_BYTES_MAX + 1}"}, "send pictures as multipart/form-data"),
        ({"Transfer-Encoding": "chunked"}, "must come with a Content-Length"),
    ],
)
def test_a_body_that_is_not_read_is_refused_by_its_head(
    headers: dict[str, str], sentence: str, web: WebServer, pets: str
) -> None:
    sent = {"Content_Type": "application/json", **headers}
    answer = raw(web, "POST", f"/v1/memories/{pets}:classify", **sent)

    assert answer.status == 400
    assert sentence in answer.document["message"]


@pytest.mark.parametrize(
    "body", [b'{"\\ud800": 1}', b'{"\\ud800": 1, "\\ud800": 2}', b'{"filter": "\\ud800"}']
)
def test_lone_surrogates_are_refused(body: bytes, web: WebServer, pets: str) -> None:
    kind = "application/json"
    answer = web.ask("POST", f"/v1/memories/{pets}:classify", body=body, content_type=kind)

    assert (answer.status, answer.reason) == (400, "BAD_FIELD")


JSONS: Any = st.recursive(
    st.sampled_from([True, False, 0, 10**400])
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)
FITTING: dict[int, tuple[type, ...]] = {
    FieldDescriptor.CPPTYPE_STRING: (str,),
    FieldDescriptor.CPPTYPE_BOOL: (bool,),
    FieldDescriptor.CPPTYPE_INT32: (int, float, str),
    FieldDescriptor.CPPTYPE_INT64: (int, float, str),
    FieldDescriptor.CPPTYPE_FLOAT: (int, float, str),
    FieldDescriptor.CPPTYPE_DOUBLE: (int, float, str),
}
PYTHONS = re.compile(
    "object of type|concatenate|bytes-like|NoneType|Traceback|<class|argument|does not fit"
)


def is_misfit(value: Any, field: Any) -> bool:
    """Return True if a value is of another kind of JSON than one value of a field."""
    if field.message_type is None:
        fitting = FITTING[field.cpp_type]
    else:
        fitting = {"Vectors": (list,), "Images": (list,)}.get(field.message_type.name, (dict,))
        if field.message_type.file.package == "google.protobuf":
            fitting = (str,)
    if isinstance(value, bool) and bool not in fitting:
        return True
    return not isinstance(value, fitting)


def fields_in(kind: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield each field of a message, and of those in it, with the path to it."""
    for field in kind.fields:
        at, inner = (*path, field.json_name), field.message_type
        yield at, field
        if inner is None or inner.GetOptions().map_entry or inner.name in ("Vectors", "Images"):
            continue
        if inner.file.package != "google.protobuf":
            yield from fields_in(inner, (*at, "[]") if field.is_repeated else at)


FIELDS = [
    (route, path, field)
    for route in make_routes()
    if route.body_type is not None
    for path, field in fields_in(route.body_type)
    if field.name not in route.variables and ".".join((route.body, *path)) not in route.variables
]


def placed(path: tuple[str, ...], value: Any) -> Any:
    """Return a document with a value at a path."""
    for name in reversed(path):
        value = [value] if name == "[]" else {name: value}
    return value


@settings(max_examples=600)
@given(st.sampled_from(FIELDS), st.data())
def test_a_value_of_a_wrong_kind_is_refused_with_the_name_of_its_field(
    web: WebServer, place: tuple[Route, tuple[str, ...], Any], data: st.DataObject
) -> None:
    route, path, field = place
    value = data.draw(JSONS.filter(lambda each: is_misfit(each, field)))
    if field.is_repeated:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            inner = field.message_type.fields_by_name["value"]
            wrong = JSONS.filter(lambda each: is_misfit(each, inner))
            value = data.draw(wrong.map(lambda each: {"a": each}) | JSONS.filter(is_no_object))
        elif data.draw(st.booleans()):
            value = [value]
        else:
            value = data.draw(JSONS.filter(lambda each: not isinstance(each, list)))
    answer = web.ask(
        route.verb,
        VARIABLE.sub(lambda found: "a/b" if "/" in (found[2] or "") else "a", route.template),
        placed(path, value),
    )

    assert (answer.status, answer.reason) == (400, "BAD_FIELD"), answer
    assert field.json_name in answer.document["message"]
    assert not PYTHONS.search(answer.document["message"]), answer


def is_no_object(value: Any) -> bool:
    return not isinstance(value, dict)


@pytest.mark.parametrize("route", [each for each in make_routes() if each.body != "*"])
def test_a_wrong_text_in_a_query_is_refused_with_the_name_of_its_field(
    route: Route, web: WebServer
) -> None:
    path = VARIABLE.sub(lambda found: "a/b" if "/" in (found[2] or "") else "a", route.template)
    for field in route.parameters():
        if field.cpp_type not in (FieldDescriptor.CPPTYPE_STRING, FieldDescriptor.CPPTYPE_MESSAGE):
            answer = web.ask(route.verb, f"{path}?{field.name}=maybe", {} if route.body else None)
            assert (answer.status, answer.reason) == (400, "BAD_FIELD"), answer
            assert field.json_name in answer.document["message"]
            assert not PYTHONS.search(answer.document["message"]), answer


def test_the_largest_pictures_are_read(web: WebServer, album: str) -> None:
    size = (64 << 20) - 10_000
    body, kind = in_parts(None, bytes(size))
    answer = web.ask("POST", f"/v1/memories/{album}:classify", body=body, content_type=kind)

    assert answer.reason == "UNDECODABLE_IMAGE", answer
    assert (
        web.ask(
            "POST", f"/v1/memories/{album}:classify", body=body + bytes(20_000), content_type=kind
        ).reason
        == "TOO_LARGE"
    )


def test_the_log_has_no_ids_of_paths(tmp_path: Path) -> None:
    web = WebServer(tmp_path / "data", "--erasure", "files", "--log-level", "debug")
    web.done("POST", "/v1/memories", {"name": "pets", "dimension": 2})
    for verb, path in (
        ("GET", "/v1/memories/pets/entries/a-person?no=1"),
        ("PUT", "/v1/memories/pets/entries/a-person"),
        ("GET", "/v1/memories/pets/entries/a-person"),
        ("GET", "/v1/a-person"),
    ):
        assert web.ask(verb, path).status >= 400
    assert web.end() == 0
    assert "a-person" not in web.last_log


def test_broken_bodies_leave_a_log_of_json(tmp_path: Path) -> None:
    web = WebServer(tmp_path / "data", "--erasure", "files", "--log-level", "debug")
    web.done("POST", "/v1/memories", {"name": "pets", "dimension": 2})
    good, kind = in_parts({"k": 1}, b"picture")
    bodies = [good[:at] + b"\x00\xff" + good[at + 1 :] for at in range(0, len(good), 3)]
    for body in (*bodies, b"no parts", b"--edge", b"--edge\r\n", good + b"more", b"--edgy\r\n"):
        status = web.ask("POST", "/v1/memories/pets:classify", body=body, content_type=kind).status
        assert status == 400
    host, port = web.web.split(":")
    connection = socket.create_connection((host, int(port)), timeout=SECONDS)
    connection.sendall(b"no HTTP\r\n\r\n")
    assert b"400" in connection.recv(65_536)
    connection.close()
    assert web.end() == 0

    for line in web.last_log.splitlines():
        assert json.loads(line)


def test_health_and_the_description_are_served(web: WebServer, pets: str) -> None:
    assert web.done("GET", "/healthz") == {"status": "SERVING"}
    assert web.done("GET", f"/healthz?service=memories/{pets}") == {"status": "SERVING"}
    assert web.ask("GET", "/healthz?service=nothing").status == 404
    described = web.done("GET", "/openapi.json")
    told = {each["operationId"] for path in described["paths"].values() for each in path.values()}
    assert told == {"CheckHealth", *(each.call for each in make_routes())}


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://[", ""]
)
def test_pages_of_other_sites_may_not_call(origin: str, web: WebServer) -> None:
    answer = web.ask("GET", "/v1/memories", Origin=origin)

    assert (answer.status, answer.reason) == (403, "FOREIGN_SITE")
    assert web.ask("GET", "/v1/memories", Origin=f"http://{web.web}").status == 200


def test_a_page_of_the_same_address_by_another_scheme_may_not_call(web: WebServer) -> None:
    assert web.ask("GET", "/v1/memories", Origin=f"https://{web.web}").reason == "FOREIGN_SITE"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "", "[", "localhost.evil"])
def test_without_keys_no_other_name_leads_to_the_server(host: str, web: WebServer) -> None:
    connection = web.connect()
    connection.request("GET", "/v1/memories", headers={"Host": host})
    assert connection.getresponse().status == 403
    connection.close()


def test_a_site_that_is_named_may_call(tmp_path: Path) -> None:
    web = WebServer(tmp_path / "data", "--http-origin", "https://example.org", "--erasure", "files")
    answer = web.ask("GET", "/v1/memories", Origin="https://example.org")
    asked = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}
    connection = web.connect()
    connection.request("OPTIONS", "/v1/memories", headers=asked)
    allowed = connection.getresponse()

    assert answer.headers["access-control-allow-origin"] == "https://example.org"
    assert allowed.status == 200
    assert "POST" in str(allowed.headers["access-control-allow-methods"])
    assert web.ask("GET", "/v1/memories", Origin="https://evil.example").status == 403
    connection.close()
    assert web.end() == 0


def test_curl_sends_a_picture(web: WebServer, album: str, tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(PICTURES[0])
    url = f"http://{web.web}/v1/memories/{album}:classify"
    done = subprocess.run(
        ["curl", "-sS", "-F", f"image=@{tmp_path / 'cat.png'}", url],
        check=True,
        capture_output=True,
    )

    assert json.loads(done.stdout)["decisions"][0]["neighbors"][0]["id"] == "0"
