"""PyTorch's networks run on one thread, and their hash covers what decides a vector."""

import numpy as np
import pytest
import torch

from visual_memory_embedders.backends.torch_network import gpu_of, loaded, weights_sha256
from visual_memory_embedders.errors import NoGpu
from visual_memory_embedders.spec import Preprocessing

PREPROCESSING = Preprocessing(4, (4, 4), "bicubic", (0.0,) * 3, (1.0,) * 3)


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


class Sides(torch.nn.Module):  # type: ignore[misc, unused-ignore]  # Any without PyTorch
    """The mean of each channel, times a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(3.0))

    def forward(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.mean(dim=(2, 3)) * self.weight


def test_a_network_runs_on_one_thread_and_gives_float32() -> None:
    network = loaded("aa", PREPROCESSING, TENSOR, lambda tensor: tensor.double().mean(dim=(2, 3)))

    vectors = network.network(np.ones((1, 3, 4, 4), dtype=np.float32))

    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[1, 1, 1]]
    assert torch.get_num_threads() == 1
    assert network.at_once is None
    assert not network.keeps_values


def test_on_a_device_the_weights_are_halved_and_some_images_go_at_once() -> None:
    sides, place = Sides(), (torch.device("cpu"), torch.float16)

    network = loaded("aa", PREPROCESSING, sides, sides, place)

    vectors = network.network(np.full((5, 3, 4, 4), 1.0001, dtype=np.float32))
    assert sides.weight.dtype == torch.float16
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[3, 3, 3]] * 5  # 1.0001 is 1 in half precision
    assert network.at_once


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_without_a_gpu_one_is_refused() -> None:
    assert gpu_of("n", "cpu") is None
    with pytest.raises(NoGpu, match=r"^'n' cannot run on a GPU \(PyTorch finds none\): install "):
        gpu_of("n", "cuda")
