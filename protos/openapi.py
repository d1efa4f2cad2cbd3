"""The OpenAPI description of JSON over HTTP, made from the protos and their comments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from visual_memory import __version__
from visual_memory.scopes import CALLS, SCOPES, SERVICE
from visual_memory_service.http.bodies import IMAGE_PART, JSON, MULTIPART, REQUEST_PART
from visual_memory_service.http.documents import IMAGES, VECTOR_FIELD, VECTORS, is_images
from visual_memory_service.http.routes import VARIABLE, Route, make_routes

# Numbers of fields in descriptor.proto.
MESSAGES, NESTED_MESSAGES, FIELDS, SERVICES, METHODS = 4, 3, 2, 6, 2
BASE64 = {"type": "string", "contentEncoding": "base64"}
WELL_KNOWN: dict[str, dict[str, Any]] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^[0-9]{1,9}(\.[0-9]{1,9})?s$"},
    "google.protobuf.FieldMask": {"type": "string"},
    VECTORS: {
        "type": "array",
        "description": "Rows of one length.",
        "items": {"type": "array", "items": {"type": "number"}},
    },
    IMAGES: {
        "type": "array",
        "description": "Encoded pictures, such as JPEG and PNG.",
        "items": BASE64,
    },
}
SCALARS: dict[int, dict[str, Any]] = {
    FieldDescriptor.CPPTYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.CPPTYPE_INT64: {"type": "string", "format": "int64", "pattern": r"^-?[0-9]+$"},
    FieldDescriptor.CPPTYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.CPPTYPE_FLOAT: {"type": "number", "format": "float"},
    FieldDescriptor.CPPTYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.CPPTYPE_STRING: {"type": "string"},
}
FAILED = {
    "description": "The call failed: google.rpc.Status.",
    "content": {JSON: {"schema": {"$ref": "#/components/schemas/Status"}}},
}
STATUS = {
    "type": "object",
    "description": "google.rpc.Status: a code of gRPC, a sentence, and details.",
    "required": ["code", "message"],
    "properties": {
        "code": {"type": "integer"},
        "message": {"type": "string"},
        "details": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["@type"],
                "properties": {"@type": {"type": "string"}},
            },
        },
    },
}


class Comments:
    """The comments of descriptors, by their full names."""

    def __init__(self, files: FileDescriptorSet) -> None:
        self._found = dict[str, str]()
        for file in files.file:
            names = dict(named(file))
            for location in file.source_code_info.location:
                if (name := names.get(tuple(location.path))) and location.leading_comments:
                    text = " ".join(location.leading_comments.split())
                    self._found[name] = text

    def of(self, name: str) -> dict[str, str]:
        """Return the description of what has this name, if it has one."""
        return {"description": self._found[name]} if name in self._found else {}


def named(file: FileDescriptorProto) -> Iterator[tuple[tuple[int, ...], str]]:
    """Yield the path of each message, field and method in a file, with its full name."""

    def within(messages: Any, path: tuple[int, ...], scope: str) -> Iterator[Any]:
        for at, message in enumerate(messages):
            name, here = f"{scope}.{message.name}", (*path, at)
            yield here, name
            for number, field in enumerate(message.field):
                yield (*here, FIELDS, number), f"{name}.{field.name}"
            yield from within(message.nested_type, (*here, NESTED_MESSAGES), name)

    yield from within(file.message_type, (MESSAGES,), file.package)
    for at, service in enumerate(file.service):
        for number, method in enumerate(service.method):
            yield (SERVICES, at, METHODS, number), f"{file.package}.{service.name}.{method.name}"


class Schemas:
    """The schemas of messages, each made once and named as its message."""

    def __init__(self, comments: Comments) -> None:
        self._comments = comments
        self.made: dict[str, Any] = {"Status": STATUS}

    def of(self, kind: Descriptor) -> dict[str, Any]:
        """Return a reference to the schema of a message."""
        if kind.full_name in WELL_KNOWN:
            return WELL_KNOWN[kind.full_name]
        if kind.name not in self.made:
            self.made[kind.name] = {}  # for messages that hold themselves
            self.made[kind.name] = self.body(kind, set())
        return {"$ref": f"#/components/schemas/{kind.name}"}

    def body(self, kind: Descriptor, without: set[str]) -> dict[str, Any]:
        """Return the schema of a message without some of its fields."""
        return {
            "type": "object",
            **self._comments.of(kind.full_name),
            "additionalProperties": False,
            "properties": {
                field.json_name: self.field(field)
                for field in kind.fields
                if field.name not in without
            },
        }

    def field(self, field: FieldDescriptor) -> dict[str, Any]:
        """Return the schema of a field."""
        comment, kind = self._comments.of(field.full_name), field.message_type
        if kind is not None and kind.GetOptions().map_entry:
            values = self.value(kind.fields_by_name["value"])
            return {"type": "object", "additionalProperties": values, **comment}
        value = self.value(field)
        return {**({"type": "array", "items": value} if field.is_repeated else value), **comment}

    def value(self, field: FieldDescriptor) -> dict[str, Any]:
        """Return the schema of one value of a field."""
        if field.message_type is not None:
            return self.of(field.message_type)
        if field.enum_type is not None:
            return {"type": "string", "enum": [each.name for each in field.enum_type.values]}
        if field.full_name == VECTOR_FIELD:
            return {"type": "array", "items": {"type": "number"}}
        if field.type == FieldDescriptor.TYPE_BYTES:
            return BASE64
        return SCALARS[field.cpp_type]


def described(files: FileDescriptorSet) -> dict[str, Any]:
    """Return the OpenAPI document. ``files`` are the protos with their comments."""
    comments = Comments(files)
    schemas = Schemas(comments)
    paths = dict[str, Any]()
    for route in make_routes():
        path = VARIABLE.sub(plain, route.template)
        paths.setdefault(path, {})[route.verb.lower()] = operation(route, schemas, comments)
    paths["/healthz"] = {"get": HEALTH}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Visual Memory",
            "version": __version__,
            "description": "Classifies images by remembering others.",
        },
        "security": [{"key": []}, {}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.made.items())),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


HEALTH = {
    "operationId": "CheckHealth",
    "description": "Tells if the server, or a service such as memories/NAME, answers.",
    "security": [{}],
    "parameters": [{"name": "service", "in": "query", "schema": {"type": "string"}}],
    "responses": {
        code: {
            "description": text,
            "content": {
                JSON: {
                    "schema": {
                        "type": "object",
                        "properties": {"status": {"type": "string"}},
                        "required": ["status"],
                    }
                }
            },
        }
        for code, text in (("200", "It does."), ("503", "It does not."))
    }
    | {"default": FAILED},
}


def plain(variable: re.Match[str]) -> str:
    """Return a variable of a path as OpenAPI has it: one for each segment."""
    name, pattern = variable[1], variable[2]
    return "{memory}/{id}" if pattern == "*/*" else f"{{{name.rpartition('.')[2]}}}"


def operation(route: Route, schemas: Schemas, comments: Comments) -> dict[str, Any]:
    """Return the description of one call."""
    scopes = [scope for scope in SCOPES if scope in CALLS[route.call].scopes]
    comment = comments.of(f"{SERVICE.full_name}.{route.call}").get("description", "")
    response: Any = route.response.DESCRIPTOR
    made: dict[str, Any] = {
        "operationId": route.call,
        "description": f"{comment} Needs a key with the scope {' or '.join(scopes)}.".strip(),
        "parameters": list(parameters(route, schemas)),
        "responses": {
            "200": {
                "description": "Done.",
                "content": {JSON: {"schema": schemas.of(response)}},
            },
            "default": FAILED,
        },
    }
    if (kind := route.body_type) is not None:
        inner = {name.rpartition(".")[2] for name in route.variables}
        schema = schemas.body(kind, inner)
        content: dict[str, Any] = {JSON: {"schema": schema}}
        if any(map(is_images, kind.fields)):
            content[MULTIPART] = {"schema": in_parts(schema)}
        made["requestBody"] = {"content": content}
    return made


def parameters(route: Route, schemas: Schemas) -> Iterator[dict[str, Any]]:
    """Yield the parameters of a call, those of the path first."""
    for name in re.findall(r"\{(\w+)\}", VARIABLE.sub(plain, route.template)):
        schema: dict[str, Any] = {"type": "string", "minLength": 1}
        yield {"name": name, "in": "path", "required": True, "schema": schema}
    for field in route.parameters():
        yield {"name": field.json_name, "in": "query", "schema": schemas.field(field)}


def in_parts(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a body in parts: the JSON without images, and these as files."""
    return {
        "type": "object",
        "properties": {
            REQUEST_PART: {**schema, "contentMediaType": JSON},
            IMAGE_PART: {
                "type": "array",
                "items": {"type": "string", "contentMediaType": "application/octet-stream"},
            },
        },
    }
