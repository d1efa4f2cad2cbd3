"""The page of ``assess --page``: one HTML file to review entries that look mislabelled."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from itertools import chain
from pathlib import Path

import numpy as np

from visual_memory import Memory, NotFound
from visual_memory.terminal.output import plural, printable
from visual_memory.terminal.progress import Progress
from visual_memory.types import Assessment, Conflict, Entry, MemoryInfo, Neighbor, Suspect
from visual_memory_service.console.suspects import no_suspects
from visual_memory_service.pictures.folder_thumbnails import FolderThumbnails

MARK = re.compile(r"<!--([A-Z]+)-->")
INLINE = re.compile(r"<(style|script)>(.*?)</\1>", re.DOTALL)
TEMPLATE = Path(__file__).with_name("assessment_page.html")
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
    info, template = memory.info(), TEMPLATE.read_text(encoding="utf-8")
    likely, conflicts = found.suspects[:SUSPECTS_SHOWN], found.conflicts[:CONFLICTS_SHOWN]
    judged = chain((each.id for each in likely), *(each.ids for each in conflicts))
    there = fetch(memory, judged, "entries fetched", include_vector=True)
    cases = to_cases(memory, [each for each in likely if each.id in there], there)
    conflicts = [each for each in conflicts if there.keys() >= {*each.ids}]
    ids = [*chain(*map(ids_of, cases), *(conflict.ids for conflict in conflicts))]
    pictures = find_pictures(memory, info, ids, folder)
    parts = {
        "POLICY": policy(template),
        "NAME": escape(info.name),
        "TILES": tiles(found),
        "PICTURES": no_pictures(info) if pictures is None else folder_note(folder),
        "SUSPECTS": suspects(found, cases, pictures),
        "CONFLICTS": pairs(found, conflicts, pictures),
        "LABELS": "".join(map(table_row, rows)),
        "THIN": thin(found),
        "OPTIONS": "".join(f'<option value="{escape(label)}">' for label in sorted(info.labels)),
    }
    return MARK.sub(lambda mark: parts[mark[1]], template)


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


def tiles(found: Assessment) -> str:
    """Render the counts, accuracy and calibration error at the top of the page."""
    numbers = (
        (f"{found.count:,}", "entries that vote"),
        (f"{found.accuracy:.2%}", "of them get their label from the others"),
        (f"{found.calibration_error:.4f}", "calibration error of their votes"),
        (f"{len(found.suspects):,}", "likely mislabelled"),
        (f"{len(found.conflicts):,}", "pairs at most 0.06 apart, with different labels"),
    )
    return "".join(f"<div class=tile><b>{n}</b><span>{text}</span></div>" for n, text in numbers)


def no_pictures(info: MemoryInfo) -> str:
    """Render a note for a memory that stores no pictures: how to get them shown."""
    return (
        f"<p class=note>{escape(info.name)} keeps no pictures, so their ids have to do. With "
        "<code>--images FOLDER</code> they are taken from the folder that was inserted; a memory "
        "made with <code>visual-memory create NAME --store-images</code> shows them here.</p>"
    )


def folder_note(folder: FolderThumbnails | None) -> str:
    """Render a note on the pictures from a folder, or nothing if none was given."""
    return f"<p class=note>{escape(printable(folder.summary()))}</p>" if folder else ""


def suspects(found: Assessment, cases: Sequence[Case], pictures: Pictures | None) -> str:
    """Render the suspects shown, the likeliest first."""
    if not cases:
        return f"<p class=note>{escape(no_suspects(found.labels))}</p>"
    cards = "".join(card(case, pictures) for case in cases)
    return cut(len(cases), len(found.suspects), "likeliest") + cards


def pairs(found: Assessment, conflicts: Sequence[Conflict], pictures: Pictures | None) -> str:
    """Render the ``conflicts`` to show, pairs of almost equal entries with different labels."""
    if not conflicts:
        return "<p class=note>No two entries with different labels are at most 0.06 apart.</p>"
    shown = "".join(pair(conflict, pictures) for conflict in conflicts)
    return cut(len(conflicts), len(found.conflicts), "nearest") + shown


def cut(shown: int, count: int, which: str) -> str:
    """Render a note such as ``the nearest 20 of 312``, or nothing if all are shown.

    ``which`` is the word before ``shown``.
    """
    if shown == count:
        return ""
    return (
        f"<p class=note>These are the {which} {shown} of {count:,}. Once their labels are set, "
        "the same command shows more.</p>"
    )


def card(case: Case, pictures: Pictures | None) -> str:
    """Render a suspect with its nearest entries of both labels and the form of choices."""
    each = case.suspect
    return (
        f"<article>{figure(each.id, pictures)}<div>"
        f"<header><h3>{escape(each.id)}</h3><small>score {each.score:.4f}</small></header>"
        f"<p>Labelled <b>{escape(each.label)}</b>, proposed <b>{escape(each.proposed)}</b>: "
        f"{escape(each.reason)}.</p>"
        f"<div class=evidence>{strip(each.proposed, case.for_proposed, pictures)}"
        f"{strip(each.label, case.for_own, pictures)}</div>"
        f"{choice(each.id, each.label, each.proposed)}</div></article>"
    )


def strip(label: str, near: Sequence[Neighbor], pictures: Pictures | None) -> str:
    """Render the entries of one label that are nearest to a suspect, the nearest first."""
    items = "".join(
        f'<li title="{escape(each.id)}">{picture(each.id, pictures)}'
        f"<em>{escape(each.id)}</em><small>{each.distance:.4f}</small></li>"
        for each in near
    )
    shown = f"<ol>{items}</ol>" if items else f"<small>none of the {NEAR} nearest</small>"
    return f"<section><h4>nearest <b>{escape(label)}</b></h4>{shown}</section>"


def pair(conflict: Conflict, pictures: Pictures | None) -> str:
    """Render two conflicting entries side by side, each with a choice of labels."""
    sides = "".join(
        f"<div class=side>{figure(id, pictures)}<div><h3>{escape(id)}</h3>"
        f"<p>Labelled <b>{escape(label)}</b></p>{choice(id, label, proposed)}</div></div>"
        for id, label, proposed in zip(
            conflict.ids, conflict.labels, reversed(conflict.labels), strict=True
        )
    )
    return (
        f"<article class=pair><header><small>{conflict.distance:.4f} apart</small>"
        f"<small class=settled>✓ settled</small></header>{sides}</article>"
    )


def figure(id: str, pictures: Pictures | None) -> str:
    """Render the picture of an entry as a figure, or nothing if ``pictures`` is None."""
    return f"<figure>{picture(id, pictures)}</figure>" if pictures is not None else ""


def picture(id: str, pictures: Pictures | None) -> str:
    """Render the thumbnail of an entry, or the reason why it has none."""
    if pictures is None:
        return ""
    found = pictures.get(id, "no picture")
    if isinstance(found, str):
        return f"<span class=blank>{found}</span>"
    return f'<img src="data:image/jpeg;base64,{b64encode(found).decode()}" alt="">'


def choice(id: str, label: str, proposed: str) -> str:
    """Render the form of choices for an entry: keep its label, set another one, or prune it.

    Id and labels are attributes in JSON, from which the page's script reads them exactly.
    """
    values = {"id": id, "label": label, "proposed": proposed}
    data = " ".join(f'data-{key}="{escape(json.dumps(value))}"' for key, value in values.items())
    choices = {"keep": f"keep <b>{escape(label)}</b>", "proposed": f"set <b>{escape(proposed)}</b>"}
    if "\n" not in id and not id.endswith("\r"):  # it can be a line of a file of ids
        choices["prune"] = "prune"
    choices["other"] = (
        "other <input name=other type=text list=labels maxlength=256 "
        f'aria-label="other label of {escape(id)}">'
    )
    radios = "".join(
        f"<label><input type=radio name=choice value={value}>{text}</label>"
        for value, text in choices.items()
    )
    return (
        f"<form {data}><fieldset><legend class=unseen>What is {escape(id)}?</legend>{radios}"
        "<button type=button>clear</button></fieldset></form>"
    )


def table_row(cells: Sequence[object]) -> str:
    """Render a row of the table, numbers to the right."""
    starts = ("<td class=number>" if isinstance(cell, int | float) else "<td>" for cell in cells)
    pairs = zip(starts, cells, strict=True)
    return f"<tr>{''.join(f'{start}{escape(printable(cell))}</td>' for start, cell in pairs)}</tr>"


def thin(found: Assessment) -> str:
    """Render a note on the labels with too few entries to judge."""
    labels = [each for each in found.labels if each.thin]
    if not labels:
        return ""
    names = ", ".join(f"{escape(each.label)} ({each.count})" for each in labels[:THIN_SHOWN])
    more = f" and {len(labels) - THIN_SHOWN} more" if len(labels) > THIN_SHOWN else ""
    return (
        f"<p class=note>{plural(len(labels), 'label')} too thin to trust, so that none of their "
        f"entries is suspect: {names}{more}.</p>"
    )
