"""A spec is written as one text, and read back equal or not at all."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_memory_embedders import EmbedderSpec, Preprocessing

LENGTHS = st.integers(1, 2**20)
SIDES = st.tuples(LENGTHS, LENGTHS)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
PREPROCESSINGS = st.builds(
    Preprocessing,
    resize=LENGTHS | SIDES,
    crop=SIDES,
    mean=st.tuples(NUMBERS, NUMBERS, NUMBERS),
    std=st.tuples(*[NUMBERS.filter(bool)] * 3),
)
SPECS = st.builds(EmbedderSpec, preprocessing=PREPROCESSINGS, dimension=LENGTHS)
FIELDS = {
    "resize": 8,
    "crop": [6, 7],
    "interpolation": "bilinear",
    "mean": [0, 0.5, 1],
    "std": [1, 1, 1],
}


@given(SPECS)
def test_a_spec_is_read_back_equal(spec: EmbedderSpec) -> None:
    assert EmbedderSpec.from_json(spec.to_json()) == spec


@given(SPECS)
def test_a_spec_has_one_text(spec: EmbedderSpec) -> None:
    text = spec.to_json()

    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))


@pytest.mark.parametrize("text", ["{}", "[]", '{"name": "a"}', "not JSON", '{"name":' * 100_000])
def test_other_text_is_no_spec(text: str) -> None:
    with pytest.raises(ValueError, match=r"spec|Expecting|nested too deep"):
        EmbedderSpec.from_json(text)


def test_a_preprocessing_is_read_from_plain_fields() -> None:
    preprocessing = Preprocessing.from_fields(FIELDS)

    assert preprocessing == Preprocessing(8, (6, 7), "bilinear", (0, 0.5, 1), (1, 1, 1))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("resize", 0),
        ("resize", True),
        ("resize", [1, 2, 3]),
        ("crop", 224),
        ("crop", [224, -1]),
        ("interpolation", "cubic"),
        ("interpolation", []),
        ("mean", 0.5),
        ("mean", [0.5, 0.5]),
        ("mean", [0.5, 0.5, float("nan")]),
        ("std", [1, 0, 1]),
        ("std", ["1", "1", "1"]),
    ],
)
def test_a_wrong_field_is_named(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        Preprocessing.from_fields({**FIELDS, field: value})


@pytest.mark.parametrize("fields", [None, [], {}, {**FIELDS, "gamma": 1}])
def test_fields_must_be_all_and_no_others(fields: object) -> None:
    with pytest.raises(ValueError, match="exactly resize, crop, interpolation, mean, std"):
        Preprocessing.from_fields(fields)
