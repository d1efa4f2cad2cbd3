"""Reads and writes messages of the Open Inference Protocol, where a memory is a model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from google.protobuf.descriptor import FieldDescriptor

from visual_memory.v1 import decision_pb2, entry_pb2, memory_pb2
from visual_memory.v1 import open_inference_pb2 as inference
from visual_memory.v1 import service_pb2 as pb
from visual_memory_service.errors import BadField

IMAGES, VECTORS = "images", "vectors"
BYTES, FP32, FP64 = "BYTES", "FP32", "FP64"
DTYPES = {FP32: "<f4", FP64: "<f8"}
LENGTH_BYTES = 4  # before each text or picture in raw contents
PLATFORM = "visual-memory"
ANY = -1  # length of an axis

Values = list[Any]


class Output(NamedTuple):
    """An output: its datatype, and how it is read, of a decision or of each of its neighbours."""

    datatype: str
    of_decision: Callable[[decision_pb2.Decision], Any] | None = None
    of_neighbor: Callable[[decision_pb2.Neighbor], Any] | None = None


OUTPUTS = {
    "label": Output(BYTES, of_decision=lambda each: each.label.encode()),
    "confidence": Output(FP64, of_decision=lambda each: each.confidence),
    "neighbor_ids": Output(BYTES, of_neighbor=lambda each: each.id.encode()),
    "neighbor_labels": Output(BYTES, of_neighbor=lambda each: each.label.encode()),
    "distances": Output(FP64, of_neighbor=lambda each: each.distance),
}
PARAMETERS = {
    field.name: field
    for field in pb.ClassifyRequest.DESCRIPTOR.fields
    if field.message_type is None and not field.is_repeated and field.name != "memory"
}


def to_classify(request: inference.ModelInferRequest) -> pb.ClassifyRequest:
    """Convert a request to one of Classify, whose scalar fields its parameters set.

    Raises BadField.
    """
    if len(request.inputs) != 1:
        raise BadField("inputs", f'must be one tensor, "{IMAGES}" or "{VECTORS}"')
    for output in request.outputs:
        if output.name not in OUTPUTS:
            raise BadField(
                "outputs", f'must be of {", ".join(OUTPUTS)}, but one is "{output.name}"'
            )
    if len({each.name for each in request.outputs}) < len(request.outputs):
        raise BadField("outputs", "must name each output once")
    (tensor,), raw = request.inputs, list(request.raw_input_contents)
    if len(raw) > 1:
        raise BadField("raw_input_contents", "must be as many as inputs")
    if raw and tensor.contents.ByteSize():
        raise BadField("inputs[0].contents", "must be empty beside raw_input_contents")
    asked = pb.ClassifyRequest(memory=request.model_name)
    for name, parameter in request.parameters.items():
        set_parameter(asked, name, parameter)
    if tensor.name == IMAGES:
        asked.images.CopyFrom(entry_pb2.Images(data=to_pictures(tensor, raw)))
    elif tensor.name == VECTORS:
        asked.vectors.CopyFrom(to_rows(tensor, raw))
    else:
        raise BadField("inputs[0].name", f'must be "{IMAGES}" or "{VECTORS}"')
    return asked


def set_parameter(
    asked: pb.ClassifyRequest, name: str, parameter: inference.InferParameter
) -> None:
    """Set a field of Classify. Raises BadField if there is none, or it is of another type."""
    path = f'parameters["{name}"]'
    if (field := PARAMETERS.get(name)) is None:
        raise BadField(path, f"is none; there are {', '.join(PARAMETERS)}")
    chosen = parameter.WhichOneof("parameter_choice")
    value = None if chosen is None else getattr(parameter, chosen)
    wanted: dict[int, tuple[type, ...]] = {
        FieldDescriptor.CPPTYPE_BOOL: (bool,),
        FieldDescriptor.CPPTYPE_STRING: (str,),
        FieldDescriptor.CPPTYPE_DOUBLE: (float, int),
    }
    kinds = wanted.get(field.cpp_type, (int,))
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise BadField(path, f"must be {' or '.join(each.__name__ for each in kinds)}")
    try:
        setattr(asked, name, value)
    except ValueError:
        raise BadField(path, "is out of range") from None


def to_pictures(
    tensor: inference.ModelInferRequest.InferInputTensor, raw: Sequence[bytes]
) -> list[bytes]:
    """Return the pictures of a tensor. Raises BadField."""
    if tensor.datatype != BYTES:
        raise BadField("inputs[0].datatype", f"of {IMAGES} must be {BYTES}")
    pictures = list(split(raw[0])) if raw else list(tensor.contents.bytes_contents)
    if math.prod(tensor.shape) != len(pictures):
        raise BadField("inputs[0].shape", f"is {shape(tensor)}, but there are {len(pictures)}")
    return pictures


def to_rows(
    tensor: inference.ModelInferRequest.InferInputTensor, raw: Sequence[bytes]
) -> entry_pb2.Vectors:
    """Return the vectors of a tensor. Raises BadField."""
    if tensor.datatype != FP32:
        raise BadField("inputs[0].datatype", f"of {VECTORS} must be {FP32}")
    if len(tensor.shape) != 2 or min(tensor.shape) < 0:
        raise BadField("inputs[0].shape", f"is {shape(tensor)}, but must be [queries, dimension]")
    data = raw[0] if raw else np.array(tensor.contents.fp32_contents, DTYPES[FP32]).tobytes()
    rows, dimension = tensor.shape
    if len(data) != rows * dimension * np.dtype(DTYPES[FP32]).itemsize:
        raise BadField("inputs[0].shape", f"is {shape(tensor)}, but there are {len(data)} bytes")
    return entry_pb2.Vectors(rows=min(rows, np.iinfo(np.int32).max), data=data)


def shape(tensor: inference.ModelInferRequest.InferInputTensor) -> str:
    return str(list(tensor.shape))


def split(data: bytes) -> Iterator[bytes]:
    """Yield the texts of raw contents. Raises BadField."""
    at = 0
    while at < len(data):
        length = int.from_bytes(data[at : at + LENGTH_BYTES], "little")
        at += LENGTH_BYTES
        if at + length > len(data):
            raise BadField("raw_input_contents[0]", "ends within an element")
        yield data[at : at + length]
        at += length


def from_classified(
    response: pb.ClassifyResponse, request: inference.ModelInferRequest, version: str
) -> inference.ModelInferResponse:
    """Write the outputs that a request wants, or all, of decisions in its order."""
    answer = inference.ModelInferResponse(
        model_name=request.model_name, model_version=version, id=request.id
    )
    for name in [each.name for each in request.outputs] or OUTPUTS:
        output, decisions = OUTPUTS[name], response.decisions
        if output.of_decision is not None:
            values, axes = list(map(output.of_decision, decisions)), [len(decisions)]
        else:
            assert output.of_neighbor is not None
            rows = [list(map(output.of_neighbor, each.neighbors)) for each in decisions]
            values = [value for row in rows for value in row]
            axes = [len(rows), len(rows[0]) if rows else 0]
        answer.outputs.add(name=name, datatype=output.datatype, shape=axes)
        answer.raw_output_contents.append(raw(values, output.datatype))
    return answer


def raw(values: Values, datatype: str) -> bytes:
    """Return values as raw contents."""
    if datatype != BYTES:
        return np.array(values, DTYPES[datatype]).tobytes()
    return b"".join(len(each).to_bytes(LENGTH_BYTES, "little") + each for each in values)


def from_memory(memory: memory_pb2.Memory) -> inference.ModelMetadataResponse:
    """Describe a memory as a model."""
    made = inference.ModelMetadataResponse(
        name=memory.name, versions=[memory.digest], platform=PLATFORM
    )
    if memory.HasField("embedder"):
        made.inputs.add(name=IMAGES, datatype=BYTES, shape=[ANY])
    else:
        made.inputs.add(name=VECTORS, datatype=FP32, shape=[ANY, memory.dimension])
    for name, output in OUTPUTS.items():
        axes = [ANY] if output.of_decision is not None else [ANY, ANY]
        made.outputs.add(name=name, datatype=output.datatype, shape=axes)
    return made
