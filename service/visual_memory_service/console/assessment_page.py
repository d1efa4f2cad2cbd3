"""The page of ``assess --page``: one HTML file to review entries that look mislabelled."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain

import numpy as np

from visual_memory import Memory, NotFound
from visual_memory.terminal.output import printable
from visual_memory.terminal.progress import Progress
from visual_memory.types import Assessment, Entry, MemoryInfo, Neighbor, Suspect
from visual_memory_explorer.pages import render, source
from visual_memory_service.console.suspects import no_suspects
from visual_memory_service.pictures.folder_thumbnails import FolderThumbnails

INLINE = re.compile(r"<(style|script)>(.*?)</\1>", re.DOTALL)
TEMPLATE = "assessment.html"
SUSPECTS_SHOWN = 200
CONFLICTS_SHOWN = 100
THIN_SHOWN = 50
NEAR = 50
NEAR_SHOWN = 3
FETCHED_AT_ONCE = 8

Pictures = Mapping[str, bytes | str]  # by id a thumbnail, or why there is none


@dataclass(frozen=True, slots=True)
class Case:
    """A suspect with its nearest entries of the proposed label and of its current label."""

    suspect: Suspect
    for_proposed: Sequence[Neighbor]
    for_own: Sequence[Neighbor]


def to_page(
    memory: Memory,
    found: Assessment,
    rows: Iterable[Sequence[object]],
    folder: FolderThumbnails | None = None,
) -> str:
    """Render an assessment as HTML; ``rows`` are the rows of its table of labels.

    Only the likeliest suspects and the nearest conflicts are shown. Pictures that the memory does
    not store are taken from ``folder``.
    """
    info = memory.info()
    likely, conflicts = found.suspects[:SUSPECTS_SHOWN], found.conflicts[:CONFLICTS_SHOWN]
    judged = chain((each.id for each in likely), *(each.ids for each in conflicts))
    there = fetch(memory, judged, "entries fetched", include_vector=True)
    cases = to_cases(memory, [each for each in likely if each.id in there], there)
    conflicts = [each for each in conflicts if there.keys() >= {*each.ids}]
    ids = [*chain(*map(ids_of, cases), *(conflict.ids for conflict in conflicts))]
    return render(
        TEMPLATE,
        policy=policy(source(TEMPLATE)),
        name=info.name,
        tiles=tiles(found),
        pictures=find_pictures(memory, info, ids, folder),
        folder_note=printable(folder.summary()) if folder is not None else "",
        cases=cases,
        suspects_count=len(found.suspects),
        no_suspects=no_suspects(found.labels),
        conflicts=conflicts,
        conflicts_count=len(found.conflicts),
        rows=rows,
        thin=[each for each in found.labels if each.thin],
        thin_shown=THIN_SHOWN,
        near_of=NEAR,
        labels=sorted(info.labels),
        json=json.dumps,
        base64=lambda data: b64encode(data).decode(),
        is_line=is_line,
        printable=printable,
    )


def find_pictures(
    memory: Memory, info: MemoryInfo, ids: Sequence[str], folder: FolderThumbnails | None
) -> Pictures | None:
    """Return the stored thumbnails, and others from ``folder``; None if neither has pictures."""
    if not info.store_images and folder is None:
        return None
    pictures = dict[str, bytes | str]()
    if info.store_images:
        entries = fetch(memory, ids, "pictures fetched", include_thumbnail=True)
        pictures |= {id: each.thumbnail for id, each in entries.items() if each.thumbnail}
    if folder is not None:
        wanted = [id for id in ids if id not in pictures]
        folder.look(fetch(memory, wanted, "pictures looked for", include_vector=True).values())
        pictures |= folder.found
    return pictures


def fetch(memory: Memory, ids: Iterable[str], what: str, **parts: bool) -> dict[str, Entry]:
    """Get entries by id, skipping deleted ones; progress is shown under the name ``what``.

    ``parts`` are the arguments of ``Memory.get`` that say what to read, such as ``include_vector``.
    """
    wanted = list(dict.fromkeys(ids))

    def get(id: str) -> Entry | None:
        try:
            return memory.get(id, **parts)
        except NotFound:
            return None

    found = dict[str, Entry]()
    with Progress(what, len(wanted)) as progress, ThreadPoolExecutor(FETCHED_AT_ONCE) as threads:
        for entry in threads.map(get, wanted):
            if entry is not None:
                found[entry.id] = entry
            progress.add(1)
    return found


def to_cases(
    memory: Memory, suspects: Sequence[Suspect], entries: Mapping[str, Entry]
) -> list[Case]:
    """Search the memory for the entries nearest to each suspect; ``entries`` has its vector."""
    vectors = [v for each in suspects if (v := entries[each.id].vector) is not None]
    found = memory.search(vectors=np.stack(vectors), k=NEAR) if vectors else []
    cases = []
    for suspect, near in zip(suspects, found, strict=True):
        others = [each for each in near if each.id != suspect.id]
        proposed, own = (
            [each for each in others if each.label == label][:NEAR_SHOWN]
            for label in (suspect.proposed, suspect.label)
        )
        cases.append(Case(suspect, proposed, own))
    return cases


def ids_of(case: Case) -> list[str]:
    """Return the ids of all entries of a case."""
    return [case.suspect.id, *(each.id for each in (*case.for_proposed, *case.for_own))]


def policy(template: str) -> str:
    """Return a Content-Security-Policy that allows the template's styles and scripts alone."""
    hashes = {
        kind: b64encode(sha256(text.encode()).digest()).decode()
        for kind, text in INLINE.findall(template)
    }
    return "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; " + "; ".join(
        f"{kind}-src 'sha256-{value}'" for kind, value in hashes.items()
    )


def tiles(found: Assessment) -> Sequence[tuple[str, str]]:
    """Return the counts, accuracy and calibration error at the top of the page."""
    return (
        (f"{found.count:,}", "entries that vote"),
        (f"{found.accuracy:.2%}", "of them get their label from the others"),
        (f"{found.calibration_error:.4f}", "calibration error of their votes"),
        (f"{len(found.suspects):,}", "likely mislabelled"),
        (f"{len(found.conflicts):,}", "pairs at most 0.06 apart, with different labels"),
    )


def is_line(id: str) -> bool:
    """Return True if an id can be a line of a file of ids, by which it is pruned."""
    return "\n" not in id and not id.endswith("\r")
