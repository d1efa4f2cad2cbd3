"""The public face: small, sorted, quick to import, and the same for asyncio."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import visual_memory
from visual_memory import aio, client

HEAVY = (
    "PIL",
    "cryptography",
    "google.protobuf",
    "grpc",
    "numba",
    "numpy",
    "onnxruntime",
    "sqlite3",
    "visual_memory.aio",
    "visual_memory_service",
)


def test_the_list_of_names_is_sorted() -> None:
    assert visual_memory.__all__ == sorted(visual_memory.__all__)


def test_the_list_of_names_is_all_there_is() -> None:
    assert {*visual_memory.MODULE_OF, "aio", "__version__"} == set(visual_memory.__all__)


@pytest.mark.parametrize("name", visual_memory.__all__)
def test_every_listed_name_is_there(name: str) -> None:
    assert getattr(visual_memory, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'recall'"):
        visual_memory.recall  # type: ignore[attr-defined]  # noqa: B018  # the point of it


def test_importing_loads_neither_a_database_nor_a_network_nor_pictures() -> None:
    script = f"import sys, visual_memory; print([n for n in {HEAVY!r} if n in sys.modules])"

    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)

    assert printed.stdout.decode().strip() == "[]"


@pytest.mark.parametrize("name", ["Client", "Memory"])
def test_both_clients_have_the_same_methods_with_the_same_parameters(name: str) -> None:
    assert signatures(getattr(client, name)) == signatures(getattr(aio, name))


def test_both_clients_connect_alike() -> None:
    assert inspect.signature(client.connect) == inspect.signature(aio.connect)


def signatures(kind: type) -> dict[str, list[inspect.Parameter]]:
    return {
        name: list(inspect.signature(method).parameters.values())
        for name, method in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }
