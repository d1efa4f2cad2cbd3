"""Documents say what messages say, and every other document is refused with a reason."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from visual_memory.v1 import entry_pb2
from visual_memory.v1 import service_pb2 as pb
from visual_memory_service.errors import BadField
from visual_memory_service.http.documents import dumped, parsed, to_document, to_message

ROWS = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 5)),
    elements=st.floats(allow_nan=False, allow_infinity=False, width=32),
)
JSONS: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
WITH_SURROGATES = st.text(st.characters(), max_size=9)
NAMES = sorted(
    {field.json_name for field in pb.ClassifyRequest.DESCRIPTOR.fields}
    | {field.json_name for field in pb.EntryBatch.DESCRIPTOR.fields}
)


@given(ROWS)
def test_vectors_are_arrays_of_numbers_with_the_same_bits(rows: Any) -> None:
    sent = entry_pb2.Vectors(rows=len(rows), data=rows.astype("<f4").tobytes())
    told = to_document(pb.EmbedResponse(vectors=sent))
    asked = to_message(parsed(dumped(told)), pb.ClassifyRequest)

    assert np.array_equal(told["vectors"], rows)
    assert asked.vectors == sent


def test_images_are_texts_in_base64() -> None:
    pictures = [b"", b"\x00\xff", b"picture"]
    texts = [base64.b64encode(each).decode() for each in pictures]

    assert list(to_message({"images": texts}, pb.ClassifyRequest).images.data) == pictures


def test_nested_vectors_are_found() -> None:
    document = {"batch": {"entries": [{"label": "cat"}], "vectors": [[1, 2.5]]}}

    batch = to_message(document, pb.InsertEntriesRequest).batch

    assert np.frombuffer(batch.vectors.data, "<f4").tolist() == [1, 2.5]


def test_of_an_entry_the_bytes_that_it_has_are_told() -> None:
    vector = np.array([0.1, 0.2], "<f4")
    entry = entry_pb2.Entry(id="a", vector=vector.tobytes(), thumbnail=b"jpeg")
    (told,) = to_document(pb.ListEntriesResponse(entries=[entry]))["entries"]

    assert "image" not in told
    assert base64.b64decode(told["thumbnail"]) == b"jpeg"
    assert np.array_equal(np.array(told["vector"], np.float32), vector)


@given(st.builds(pb.ListEntriesRequest, memory=st.text(), page_size=st.integers(0, 9)))
def test_other_messages_are_as_protobuf_has_them(message: pb.ListEntriesRequest) -> None:
    told = to_document(message)

    assert json_format.ParseDict(told, pb.ListEntriesRequest()) == message
    assert to_message(parsed(dumped(told)), pb.ListEntriesRequest) == message


@given(st.dictionaries(st.sampled_from(NAMES) | WITH_SURROGATES, JSONS, max_size=4))
def test_any_document_is_a_message_or_refused(document: dict[str, Any]) -> None:
    try:
        document = parsed(json.dumps(document).encode())
    except BadField:
        return
    for kind in (pb.ClassifyRequest, pb.InsertEntriesRequest, pb.ExplainDecisionRequest):
        try:
            message = to_message(document, kind)
        except BadField:
            continue
        assert kind.FromString(message.SerializeToString()) == message


@given(st.binary() | st.text().map(str.encode) | JSONS.map(lambda each: json.dumps(each).encode()))
def test_any_body_is_an_object_or_refused(body: bytes) -> None:
    try:
        document = parsed(body)
    except BadField:
        return
    assert isinstance(document, dict)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"[]", "must be a JSON object"),
        (b'{"k":NaN}', "NaN is no number"),
        (b'{"k":1,"k":2}', '"k" comes twice'),
        (b"\xff", "is not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"k":' * 100_000, "nested too deeply"),
        (b'{"k":' + b"1" * 5000 + b"}", "has a number of more than 4,300 digits"),
        (b'{"\\ud800":1}', "is not UTF-8, or has half a surrogate pair"),
    ],
)
def test_what_is_no_object_is_refused_with_the_reason(body: bytes, sentence: str) -> None:
    with pytest.raises(BadField, match=sentence):
        parsed(body)


@pytest.mark.parametrize(
    "rows",
    [[1, 2], [[1], [1, 2]], [["1"]], [[None]], [[True]], [[True, 0.5]], [[[1]]], {}, "rows", [{}]],
)
def test_what_are_no_rows_of_numbers_is_refused(rows: Any) -> None:
    with pytest.raises(BadField, match="vectors must be an array of rows"):
        to_message({"vectors": rows}, pb.ClassifyRequest)


@pytest.mark.parametrize("images", ["text", ["no base64!"], [1], [None], {"data": []}, [["aa"]]])
def test_what_are_no_images_is_refused(images: Any) -> None:
    with pytest.raises(BadField, match="images"):
        to_message({"images": images}, pb.ClassifyRequest)


def test_a_number_too_large_for_a_vector_is_left_to_the_call_to_refuse() -> None:
    message = to_message({"vectors": [[1e39]]}, pb.ClassifyRequest)

    assert np.isinf(np.frombuffer(message.vectors.data, "<f4")).all()


def test_numbers_beyond_float64_are_refused() -> None:
    with pytest.raises(BadField, match="within the range of float64"):
        to_message({"vectors": [[10**400]]}, pb.ClassifyRequest)
    with pytest.raises(BadField, match="temperature must be a number of 64 bits"):
        to_message({"temperature": 10**400}, pb.ClassifyRequest)


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({"ids": ["a"] * 70_000 + [7] + ["b"] * 30_000}, r"ids\[70000\] must be a text"),
        ({"idz": ["a"]}, "idz is no field here; there are: allowMissing, ids, memory, requestId"),
        ({"": 1}, '"" is no field here'),
    ],
)
def test_the_field_that_does_not_fit_is_named(document: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadField, match=sentence):
        to_message(document, pb.DeleteEntriesRequest)


def test_a_name_that_is_long_is_not_repeated_as_a_whole() -> None:
    with pytest.raises(BadField) as caught:
        to_message({"x" * 1_000_000: 1}, pb.DeleteEntriesRequest)
    assert len(str(caught.value)) < 200


def test_fields_that_exclude_each_other_are_named() -> None:
    with pytest.raises(BadField, match='multiple "method" oneof fields'):
        to_message({"hard": {}, "random": {}}, pb.PruneEntriesRequest)


def test_what_is_refused_takes_time_and_ram_as_its_length() -> None:
    names = ",".join(f'"{number:x}":0' for number in range(200_000))
    with pytest.raises(BadField, match='"zz" comes twice'):
        parsed(f'{{{names},"zz":0,"zz":0}}'.encode())
    texts = [["x" * 200_000, *([""] * 200_000)]]  # 160 GB as an array of texts
    with pytest.raises(BadField, match="must be an array of rows"):
        to_message({"vectors": texts}, pb.ClassifyRequest)
