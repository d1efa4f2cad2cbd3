"""PyTorch's networks run on one thread, and their hash covers what decides a vector."""

import numpy as np
import pytest
import torch

from visual_memory_embedders.backends.torch_network import network_of, weights_sha256


class Network(torch.nn.Module):  # type: ignore[misc, unused-ignore]  # Any without PyTorch
    def __init__(self, name: str, tensor: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer(name, tensor)


TENSOR = torch.arange(4, dtype=torch.float32)


def test_equal_states_have_equal_hashes() -> None:
    assert weights_sha256(Network("a", TENSOR)) == weights_sha256(Network("a", TENSOR.clone()))


@pytest.mark.parametrize(
    "other",
    [
        Network("b", TENSOR),
        Network("a", TENSOR + 1),
        Network("a", TENSOR.reshape(2, 2)),
        Network("a", TENSOR.view(torch.int32)),
        Network("a", TENSOR.to(torch.bfloat16)),
        Network("a", torch.tensor(0.0)),
    ],
)
def test_another_name_value_shape_or_type_has_another_hash(other: Network) -> None:
    assert weights_sha256(other) != weights_sha256(Network("a", TENSOR))


def test_a_network_runs_on_one_thread_and_gives_float32() -> None:
    network = network_of(lambda tensor: tensor.to(torch.float64).mean(dim=(2, 3)))

    vectors = network(np.ones((1, 3, 4, 4), dtype=np.float32))

    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[1, 1, 1]]
    assert torch.get_num_threads() == 1
