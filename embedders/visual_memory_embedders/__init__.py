"""Embedders: networks, named, frozen and checked, that turn encoded images into unit vectors."""

from visual_memory_embedders.images.images import BadImage, ImageLimits, pixels
from visual_memory_embedders.images.thumbnails import smaller, thumbnails
from visual_memory_embedders.registry import BUILT_IN, DEFAULT, build
from visual_memory_embedders.spec import Device, Embedder, EmbedderSpec, Preprocessing

__all__ = [
    "BUILT_IN",
    "DEFAULT",
    "BadImage",
    "Device",
    "Embedder",
    "EmbedderSpec",
    "ImageLimits",
    "Preprocessing",
    "build",
    "pixels",
    "smaller",
    "thumbnails",
]
