"""Curation: what looks mislabelled, judged entry by entry, and prunes with their dry runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from starlette.responses import Response

from visual_memory.terminal.output import plural
from visual_memory.types import PruneResult
from visual_memory_explorer.suspects import PAGE
from visual_memory_explorer.visit import BadInput, Visit, fraction, number

METHODS = ("hard", "value", "prototype", "random")
K_MAX = 1000
KEEPS = ("easy", "hard")


async def clean_page(visit: Visit) -> Response:
    """Show the ways to clean a memory."""
    return visit.page("clean.html", await visit.memory.info())


async def assess(visit: Visit) -> Response:
    """Begin an assessment."""
    operation = await visit.memory.assess(wait=False)
    return visit.go("/operation", {"name": operation.name})


async def prune(visit: Visit) -> Response:
    """Begin a prune's dry run: only it shows what would be pruned, and can be applied."""
    form = visit.form
    method = form.text("method")
    if method not in METHODS:
        raise BadInput(f"The method must be one of {', '.join(METHODS)}.")
    keep = form.text("keep") or KEEPS[0]
    if keep not in KEEPS:
        raise BadInput(f"Keep must be one of {', '.join(KEEPS)}.")
    if method == "hard":
        operation = await visit.memory.prune(
            wait=False,
            method=method,
            k=number(form.text("k"), "k", 100, 1, K_MAX),
            threshold=number(form.text("threshold"), "The threshold", 10, 1, 1_000_000_000),
            minus_correct=bool(form.text("minus_correct")),
        )
    else:
        operation = await visit.memory.prune(
            wait=False,
            method=method,
            fraction=fraction(form.text("fraction"), "The share", 0.05),
            keep=keep,
        )
    return visit.go("/operation", {"name": operation.name})


async def apply_prune(visit: Visit) -> Response:
    """Prune exactly the entries that a dry run has shown."""
    shown = (await visit.client.operation(visit.form.text("operation"))).result
    if not isinstance(shown, PruneResult) or not shown.ids:
        raise BadInput("This operation is no dry run of a prune, or found nothing to prune.")
    result = await visit.memory.prune(method="ids", ids=shown.ids, apply=True)
    visit.say(f"Pruned: {plural(len(result.ids), 'entry')} without a vote.", result.operation)
    return visit.go("/operation", {"name": result.operation})


class Choice(NamedTuple):
    """What somebody has decided about an entry: its new label, or None to prune it."""

    id: str
    label: str | None


async def judged(visit: Visit) -> Response:
    """Set the labels and take the votes away that were chosen, undone by one button."""
    choices = dict(chosen(visit))
    labels = {id: label for id, label in choices.items() if label is not None}
    pruned = [id for id, label in choices.items() if label is None]
    done, said = list[str](), list[str]()
    if labels:
        result = await visit.memory.relabel(labels, apply=True)
        done.extend([result.operation] if result.operation else [])
        said.append(f"{plural(len(result.ids), 'entry')} relabelled")
    if pruned:
        cut = await visit.memory.prune(method="ids", ids=pruned, apply=True)
        done.append(cut.operation)
        said.append(f"{plural(len(cut.ids), 'entry')} pruned")
    visit.say(f"Done: {' and '.join(said)}." if said else "Nothing was to be changed.", *done)
    name, start = visit.form.text("operation"), number(visit.form.text("from"), "from", 0, 0, 10**9)
    return visit.go("/operation", {"name": name, "from": str(start + PAGE)})


def chosen(visit: Visit) -> Iterator[Choice]:
    """Read the choices of a form, in which each entry has a number; entries kept are left out."""
    fields = dict(visit.form)
    for name, id in fields.items():
        kind, _, n = name.partition("-")
        choice = fields.get(f"choice-{n}", "keep")
        if kind != "id" or choice == "keep":
            continue
        if choice == "prune":
            yield Choice(id, None)
        elif choice == "proposed":
            yield Choice(id, fields.get(f"proposed-{n}", ""))
        elif choice == "other":
            label = fields.get(f"other-{n}", "").strip()
            if not label:
                raise BadInput(f"Give {id} its other label, or keep the one that it has.")
            yield Choice(id, label)
