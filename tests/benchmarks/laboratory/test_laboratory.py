from __future__ import annotations

import signal
import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from tests.benchmarks.experiments.made import Cellular
from tests.conftest import Start

import visual_memory
from visual_memory_benchmarks.laboratory.laboratory import Laboratory, without, without_some
from visual_memory_benchmarks.stimuli.stimuli import StimulusSet


@pytest.fixture
def laboratory(client: visual_memory.Client, sets: Mapping[str, StimulusSet]) -> Laboratory:
    return Laboratory(client, "trial", sets, [Cellular(), Cellular("cubes", 3)])


def names(client: visual_memory.Client) -> list[str]:
    return [each.name for each in client.memories() if each.name.startswith("trial")]


def test_its_memories_begin_with_its_name_and_go_when_it_ends(
    laboratory: Laboratory, client: visual_memory.Client
) -> None:
    gallery = laboratory.gallery("natural16")
    with laboratory:
        memory = laboratory.memory("all", gallery)
        laboratory.memory("none", gallery.at(np.arange(0)))
        assert len(names(client)) == 2
        assert memory.name in names(client)
    assert names(client) == []


def test_what_a_killed_run_left_is_dropped_by_the_next_of_the_same_name(
    laboratory: Laboratory, client: visual_memory.Client, sets: Mapping[str, StimulusSet]
) -> None:
    gallery = laboratory.gallery("natural16")
    laboratory.memory("all", gallery)
    left = names(client)

    with Laboratory(client, "trial", sets, laboratory.embedders) as again:
        memory = again.memory("one", gallery.at(np.arange(1)))
        assert (names(client), memory.info().count) == (left, 1)
    assert names(client) == []


def test_an_error_is_what_is_raised_where_the_server_is_gone(
    start: Start, sets: Mapping[str, StimulusSet]
) -> None:
    server = start()

    def fail(client: visual_memory.Client) -> None:
        with Laboratory(client, "trial", sets, [Cellular()]) as laboratory:
            memory = laboratory.memory("all", laboratory.gallery("natural16"))
            with without(memory, method="random", fraction=0.1):
                server.end(signal.SIGKILL)
                raise OSError("the disk is gone, too")

    with (
        visual_memory.connect(server.address, timeout=2) as client,
        pytest.raises(OSError, match="the disk is gone, too"),
    ):
        fail(client)


def test_an_error_drops_them_too_and_is_what_is_raised(
    laboratory: Laboratory, client: visual_memory.Client
) -> None:
    def fail() -> None:
        with laboratory:
            laboratory.memory("all", laboratory.gallery("natural16")).delete(ids=["nobody"])

    with pytest.raises(visual_memory.NotFound):
        fail()
    assert names(client) == []


class Late(visual_memory.Client):
    """A client whose new memories are made, but not in time."""

    def create_memory(self, *arguments: Any, **options: Any) -> visual_memory.Memory:
        super().create_memory(*arguments, **options)
        raise visual_memory.DeadlineExceeded("No answer within the timeout.")


def test_a_memory_that_was_made_too_late_is_dropped_too(
    client: visual_memory.Client, sets: Mapping[str, StimulusSet]
) -> None:
    def fail() -> None:
        with Late(client._transport.endpoint) as late:
            laboratory = Laboratory(late, "trial", sets, [Cellular()])
            with laboratory:
                laboratory.memory("all", laboratory.gallery("natural16"))

    with pytest.raises(visual_memory.DeadlineExceeded):
        fail()
    assert names(client) == []


def test_a_state_is_the_digest_of_what_a_memory_holds(laboratory: Laboratory) -> None:
    gallery = laboratory.gallery("natural16")
    with laboratory:
        memory = laboratory.memory("all", gallery)
        laboratory.memory("all again", gallery)
        memory.delete(ids=gallery.ids[:1].tolist())
        laboratory.note("one less", memory)
        laboratory.memory("one less from the start", gallery.at(np.arange(1, len(gallery))))
    states = laboratory.states
    assert states["all"] == states["all again"]
    assert states["one less"] == states["one less from the start"] != states["all"]


def test_pictures_are_asked_of_the_embedder_that_is_meant(laboratory: Laboratory) -> None:
    plain, cubes = (laboratory.gallery("edges", at).vectors for at in range(2))
    assert np.allclose(plain**3, cubes, atol=1e-6)


def test_pixels_are_cut_to_the_square_at_the_centre(laboratory: Laboratory) -> None:
    pictures = laboratory.pictures("edges")
    assert {each.shape for each in pictures} == {(224, 224, 3)}
    assert len(pictures) == len(laboratory.gallery("edges"))


def test_votes_come_back_also_after_an_error(client: visual_memory.Client) -> None:
    memory = client.create_memory(f"m{uuid.uuid4().hex}", dimension=4)
    memory.insert(vectors=np.eye(4), labels=["cat"] * 4, ids=list("abcd"))
    digest = memory.info().digest

    def fail() -> None:
        with without(memory, method="ids", ids=["a"]) as pruned:
            assert pruned.ids == ["a"]
            assert memory.info().pruned_count == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert memory.info().digest == digest
    with without(memory, method="hard", threshold=99) as pruned:
        assert pruned.ids == []
    for count in (0, 3):
        with without_some(memory, list("abcd"), count, np.random.default_rng(0)):
            assert memory.info().pruned_count == count
    assert memory.info().digest == digest
    client.delete_memory(memory.name)
