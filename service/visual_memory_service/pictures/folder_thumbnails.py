"""Thumbnails of pictures in a folder, for memories that do not store pictures."""

from __future__ import annotations

import os
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from visual_memory import Entry, MemoryInfo
from visual_memory.types import Limits
from visual_memory_embedders import BadImage, ImageLimits
from visual_memory_embedders.images.images import PIXELS_MAX
from visual_memory_embedders.images.thumbnails import SIDE, shrink
from visual_memory_service.pictures.item import sha256
from visual_memory_service.pictures.pictures import Unreadable, flaw, read, size

MISSING = "not in the folder"
LARGE = "larger than the server takes"
OTHER = "not the picture inserted"
BROKEN = "not decodable"


class FolderThumbnails:
    """Thumbnails of a folder's files; ``found`` maps entry ids to a JPEG or the reason for none.

    A picture must have the hash of its entry. ``unchecked`` counts pictures of entries inserted as
    vectors, whose hash is that of the vector.
    """

    def __init__(self, folder: Path, info: MemoryInfo, limits: Limits) -> None:
        self._folder, self._info = folder, info
        self._limits = ImageLimits(limits.image_bytes, min(limits.image_pixels, PIXELS_MAX))
        self.found: dict[str, bytes | str] = {}
        self.unchecked = 0

    def look(self, entries: Collection[Entry]) -> None:
        """Look for the entries' pictures in the folder, and add thumbnails or reasons to ``found``.

        The entries must have their vectors.
        """
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            for entry, found in zip(entries, threads.map(self._one, entries), strict=True):
                self.found[entry.id] = found
                self.unchecked += isinstance(found, bytes) and not self._is_of_picture(entry)

    @property
    def is_of_no_use(self) -> bool:
        """Return True if no picture at all can be shown."""
        return bool(self.found) and all(isinstance(found, str) for found in self.found.values())

    def summary(self) -> str:
        """Return a sentence on the pictures shown and missing."""
        if not self.found:
            return f"Nothing to show needs a picture, so none was looked for in {self._folder}."
        reasons = [found for found in self.found.values() if isinstance(found, str)]
        counts = [(len(self.found) - len(reasons), "shown")]
        counts += [(self.unchecked, "of them unchecked, since their entries are vectors")]
        counts += [(reasons.count(why), why) for why in (MISSING, LARGE, OTHER, BROKEN)]
        parts = ", ".join(f"{count:,} {what}" for count, what in counts if count)
        return f"Pictures are those in {self._folder}, by id: {parts}."

    def _one(self, entry: Entry) -> bytes | str:
        path, id = self._folder / entry.id, PurePosixPath(entry.id)
        if id.is_absolute() or ".." in id.parts or flaw(path):
            return MISSING
        try:
            if size(path) > self._limits.bytes_max:
                return LARGE
            data = read(path)
        except Unreadable:
            return MISSING
        if self._is_of_picture(entry) and sha256(data) != entry.content_sha256:
            return OTHER
        try:
            return shrink(data, side=SIDE, limits=self._limits)
        except BadImage:
            return BROKEN

    def _is_of_picture(self, entry: Entry) -> bool:
        """Return True if an entry's content hash is that of a picture, not of its vector."""
        of_row = entry.vector is not None and sha256(entry.vector) == entry.content_sha256
        return self._info.embedder is not None and not of_row
