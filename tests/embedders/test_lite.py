"""The table of the built-in networks is whole."""

import re

import pytest

from visual_memory_embedders.lite import LITE_NETWORKS, LiteNetwork


@pytest.mark.parametrize("network", LITE_NETWORKS.values())
def test_a_row_has_the_whole_hash_of_its_weights(network: LiteNetwork) -> None:
    assert re.fullmatch("[0-9a-f]{64}", network.weights_sha256)
