"""The table of the built-in networks is whole."""

import re

import pytest

from visual_memory_embedders.lite import LITE_NETWORKS, LiteNetwork


@pytest.mark.parametrize(("name", "network"), LITE_NETWORKS.items())
def test_a_row_names_one_network_throughout(name: str, network: LiteNetwork) -> None:
    assert network.package == f"{name}-pytorch-model"
    assert network.file == f"{name}-{network.weights_sha256[:8]}.pth"
    assert re.fullmatch("[0-9a-f]{64}", network.weights_sha256)
