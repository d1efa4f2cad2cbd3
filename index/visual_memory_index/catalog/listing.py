"""Memory files that the registry does not list, and valid names for them."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from hashlib import sha256
from itertools import count
from pathlib import Path

from visual_memory_index.catalog.inspection import holds_nothing, name_in
from visual_memory_index.errors import UnlistedFile

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")  # of a memory
NOT_IN_NAMES = re.compile(r"[^a-z0-9._-]+")
STEM_CHARACTERS, HASH_CHARACTERS = 54, 8  # with a full stop between: 63, the longest name


def unlisted(known: Mapping[str, str], folder: Path) -> dict[str, UnlistedFile]:
    """Map a free memory name to each non-empty memory file in ``folder`` that is not in ``known``.

    ``known`` maps file names to names of memories. The free name is that of the memory in the file,
    or else of the memory that the file was made for; ``called`` chooses another if it is taken.
    """
    paths = [
        path
        for path in sorted(folder.glob("*.sqlite"))
        if path.name not in known and not os.path.isdir(path) and not holds_nothing(path)
    ]
    held = {path: name_in(path) for path in paths}
    meant = {path.stem: held[path] or path.stem.rpartition(".")[0] for path in paths}
    names = called(meant, set(known.values()))
    found = {}
    for path in paths:
        name, is_text = names[path.stem], path.name.encode(errors="ignore").decode() == path.name
        found[name] = UnlistedFile(path, held[path], name, to_rename=not is_text)
    return found


def called(meant: Mapping[str, str], taken: Collection[str]) -> dict[str, str]:
    """Choose for each file, given by its stem, a valid name that is not ``taken``.

    ``meant`` maps stems to preferred names. The preferred name is chosen if it is valid and free
    and no other file has the same, or else the stem, or else a name made from the stem.
    """
    files = Counter(meant.values())
    names = {
        stem: name
        for stem, name in meant.items()
        if files[name] == 1 and name not in taken and NAME.fullmatch(name)
    }
    for stem in meant:
        if stem not in names:
            used = {*taken, *names.values()}
            names[stem] = next(name for name in names_of(stem) if name not in used)
    return names


def names_of(stem: str) -> Iterator[str]:
    """Yield endless names for a memory whose file has this ``stem``, the same on every call."""
    if NAME.fullmatch(stem):
        yield stem
    text = NOT_IN_NAMES.sub("-", stem.lower()).lstrip("._-")[:STEM_CHARACTERS] or "unlisted"
    for number in count():
        data = f"{stem} {number}".encode(errors="surrogateescape")
        yield f"{text}.{sha256(data).hexdigest()[:HASH_CHARACTERS]}"
