"""The sources of the datasets, by the names that benchmarks and folders have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from visual_memory_benchmarks.trials.datasets import DATASETS

MODEL_VS_HUMAN = "https://github.com/bethgelab/model-vs-human"
CLASSES = "a folder per WNID"


@dataclass(frozen=True, slots=True)
class Archive:
    """A file to download; ``md5`` is the published checksum in hex, or None if there is none."""

    url: str
    md5: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """The source of a dataset: an ``archive`` or a Zenodo ``record``; neither if fetched by hand.

    ``inside`` is the folder in an archive that holds the set, if not all of it.
    """

    name: str
    page: str
    terms: str
    layout: str
    archive: Archive | None = None
    record: str = ""
    inside: str = ""

    @property
    def fetched(self) -> bool:
        """Return True if ``data get`` can fetch the dataset."""
        return bool(self.archive or self.record)

    def remedy(self, data: Path) -> str:
        """Return a sentence on how to get the dataset."""
        if self.fetched:
            return f"Fetch it: visual-memory-bench data get {self.name} --data {data}"
        return f"Put it, {self.layout}, into {data / self.name}; it is at {self.page}"


def _published(name: str) -> Source:
    return Source(
        name,
        MODEL_VS_HUMAN,
        "those of each set",
        "as published, dnn/session-1/…",
        Archive(f"{MODEL_VS_HUMAN}/releases/download/v0.1/{name}.tar.gz"),
    )


# The MD5 are those of torchvision and of the loaders of the ImageNet variants.
_OTHERS = (
    Source(
        "caltech101",
        "https://data.caltech.edu/records/mzrjq-6wc02",
        "CC BY 4.0",
        "a folder per class",
        Archive(
            "https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip",
            "3138e1922a9193bfa496528edbbc45d0",
        ),
        inside="101_ObjectCategories",
    ),
    Source(
        "imagenette-160",
        "https://github.com/fastai/imagenette",
        "ImageNet terms",
        f"train/ and val/, {CLASSES}",
        Archive(
            "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-160.tgz",
            "e793b78cc4c9e9a4ccc0c1155377a412",
        ),
    ),
    Source(
        "texture-vs-shape",
        "https://github.com/rgeirhos/texture-vs-shape, folder "
        "stimuli/style-transfer-preprocessed-512",
        "CC BY 4.0",
        "a folder per shape category, as cue_conflict",
    ),
    Source(
        "imagenet-a",
        "https://github.com/hendrycks/natural-adv-examples",
        "MIT (repository)",
        CLASSES,
        Archive(
            "https://people.eecs.berkeley.edu/~hendrycks/imagenet-a.tar",
            "c3e55429088dc681f30d81f4726b6595",
        ),
    ),
    Source(
        "imagenet-r",
        "https://github.com/hendrycks/imagenet-r",
        "MIT (repository)",
        CLASSES,
        Archive(
            "https://people.eecs.berkeley.edu/~hendrycks/imagenet-r.tar",
            "a61312130a589d0ca1a8fca1f2bd3337",
        ),
    ),
    Source(
        "imagenet-v2",
        "https://github.com/modestyachts/ImageNetV2",
        "MIT",
        "a folder per class index 0–999",
        Archive(
            "https://s3-us-west-2.amazonaws.com/imagenetv2public/"
            "imagenetv2-matched-frequency.tar.gz"
        ),
    ),
    Source(
        "imagenet-sketch",
        "https://github.com/HaohanWang/ImageNet-Sketch",
        "MIT (repository)",
        CLASSES,
    ),
    Source(
        "imagenet-c",
        "https://zenodo.org/records/2235448",
        "CC BY 4.0",
        "CORRUPTION/SEVERITY/WNID",
        record="https://zenodo.org/api/records/2235448",
    ),
    Source(
        "laion-c",
        "https://github.com/FanfeiLi/LAION-C",
        "those of the record",
        "DISTORTION/INTENSITY/SUPERCLASS",
        record="https://zenodo.org/api/records/14051887",
    ),
    Source("ninco", "https://github.com/j-cb/NINCO", "its own", "a folder per class"),
    Source(
        "inaturalist",
        "https://github.com/visipedia/inat_comp",
        "its own",
        "a folder per class",
    ),
)

SOURCES = MappingProxyType(
    {source.name: source for source in (*map(_published, DATASETS), *_OTHERS)}
)
